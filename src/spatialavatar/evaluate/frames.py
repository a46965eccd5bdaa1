"""Which frames of a clip an avatar is made from, and which it is measured on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from spatialavatar.errors import UserError
from spatialavatar.evaluate.reenact import self_targets
from spatialavatar.generate.sources import choose_sources, spread_sources
from spatialavatar.refine.hold_out import split_frames
from spatialavatar.sequence.sequence import TrackedSequence

Targets = Literal["later", "second-half", "between", "tail", "blocks", "all"]
Choice = Literal["first-half", "spread"]


def sources_of_first_half(clip: TrackedSequence, count: int) -> tuple[int, ...]:
    """K frames of the first half with a face: the first, and those whose heads look as far elsewhere as possible.

    Raises:
        UserError: There are not so many.
    """
    usable = [frame for frame in range(len(clip) // 2) if bool(clip.is_valid[frame])]
    found = choose_sources(clip, usable[0], count, usable) if usable else []
    if len(found) < count:
        raise UserError(f"the first half has {len(found)} frames to choose {count} sources from.", where=clip.folder)
    return tuple(found)


def sources_over_clip(clip: TrackedSequence, count: int) -> tuple[int, ...]:
    """The first K of the four frames with a face that are spread over the clip (`generate.sources.spread_sources`).

    Raises:
        UserError: There are not so many.
    """
    usable = [frame for frame in range(len(clip)) if bool(clip.is_valid[frame])]
    if len(usable) < max(4, count):
        raise UserError(f"the clip has {len(usable)} frames to spread four sources over.", where=clip.folder)
    return spread_sources(usable)[:count]


CHOICES: dict[Choice, Callable[[TrackedSequence, int], tuple[int, ...]]] = {
    "first-half": sources_of_first_half,
    "spread": sources_over_clip,
}


def targets_of(clip: TrackedSequence, targets: Targets, sources: tuple[int, ...]) -> tuple[int, ...]:
    """The frames that are predicted: see `evaluate_self`.

    Raises:
        UserError: There is none.
    """
    if targets == "later":
        return self_targets(clip, sources)
    if targets == "all":
        return tuple(range(len(clip)))
    if targets == "second-half":
        return self_targets(clip, (len(clip) // 2 - 1,))
    if targets == "between":
        taken = {*sources_over_clip(clip, 4), *sources}
        found = tuple(frame for frame in range(len(clip)) if frame not in taken)
        if not found:
            raise UserError("there is no frame beside the four sources to predict.", where=clip.folder)
        return found
    return tuple(split_frames(len(clip), targets)[1])
