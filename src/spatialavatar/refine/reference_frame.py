"""Which frames Stage 2 starts from (§3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from spatialavatar.generate.sources import choose_sources
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.sequence import TrackedSequence

JAW_EXPRESSIONS = ("jawOpen", "jawForward", "jawLeft", "jawRight")
NO_JAW_SIGNAL = 1e-3


def jaw_signal(motion: Motion, expression_names: tuple[str, ...]) -> Tensor:
    """How far the jaw is from rest in every frame, (T,): the L1 norm of its rotation and of the jaw expressions.

    The paper uses ||jaw||_1 (FLAME). Heads whose jaw moves by blendshapes (ARKit's names) carry the signal there.
    """
    columns = [index for index, name in enumerate(expression_names) if name in JAW_EXPRESSIONS]
    return motion.jaw_rotation.abs().sum(1) + motion.expression[:, columns].abs().sum(1)


def reference_frame(motion: Motion, expression_names: tuple[str, ...], generator: torch.Generator) -> int:
    """The frame with the quietest jaw, the earliest on ties.

    A minimum below 1e-3 says nothing (a tracker that never moves the jaw, or many such frames): then a random frame
    among the lowest tenth.
    """
    signal = jaw_signal(motion, expression_names)
    if float(signal.min()) >= NO_JAW_SIGNAL:
        return int(signal.argmin())  # argmin returns the first of equals
    count = max(1, len(signal) // 10)
    lowest = torch.sort(signal, stable=True).indices[:count]
    return int(lowest[torch.randint(count, (1,), generator=generator)])


def quiet_and_elsewhere(sequence: TrackedSequence, head: Head, usable: list[int], count: int, seed: int) -> list[int]:
    """`count` frames of `usable`: the one with the quietest jaw (§3.3), and those that look elsewhere."""
    random = torch.Generator().manual_seed(seed)
    first = usable[reference_frame(sequence.motion[usable], head.expression_names, random)]
    return choose_sources(sequence, first, count, usable)
