"""Mattes that are off by a pixel or two, as those of real pictures are, round exact ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.sequence.sequence import FrameSource, TrackedSequence


@dataclass(frozen=True)
class LooseMattes:
    """Frames whose mattes reach `offset` pixels further out (below 0: less far), and so let background in."""

    source: FrameSource
    offset: float

    def image(self, name: str) -> NDArray[np.uint8]:
        return self.source.image(name)

    def matte(self, name: str) -> NDArray[np.uint8]:
        exact = torch.from_numpy(self.source.matte(name)).float()
        moved = _grown(exact, self.offset) if self.offset >= 0 else 255 - _grown(255 - exact, -self.offset)
        return moved.round().to(torch.uint8).numpy()


def loosened(sequence: TrackedSequence, offset: float) -> TrackedSequence:
    """The sequence with its mattes moved by `offset` pixels; the very same for 0."""
    if offset == 0 or sequence.frames is None:
        return sequence
    return replace(sequence, frames=LooseMattes(sequence.frames, offset))


def _grown(values: Tensor, radius: float) -> Tensor:
    """(H, W): the largest value within a square around each pixel, blended between whole radii."""
    whole = int(radius)
    within, beyond = (functional.max_pool2d(values[None, None], 2 * r + 1, 1, r)[0, 0] for r in (whole, whole + 1))
    return torch.lerp(within, beyond, radius - whole)
