"""The training frames, decoded once and kept as bytes, cropped to where the person is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.projection import Box

MARGIN = 4
"""Pixels kept around the matte, so that its soft edge is inside."""


@dataclass(frozen=True)
class StoredFrame:
    """image (3, h, w) and matte (h, w) bytes of a box; box is (x0, x1, y0, y1) in the frame, ends excluded."""

    image: Tensor
    matte: Tensor
    box: Box


@dataclass(frozen=True)
class FrameStore:
    """All training frames of one sequence by frame index."""

    frames: dict[int, StoredFrame]
    width: int
    height: int

    def target(self, frame: int, background: Tensor) -> Tensor:
        """The frame over `background` (3,) by its matte (Eq. 13), (H, W, 3) float."""
        stored = self.frames[frame]
        x0, x1, y0, y1 = stored.box
        # In planes, as the kernels keep images: no copy is made between here and the loss.
        color = background[:, None, None]
        target = color.expand(3, self.height, self.width).contiguous()
        alpha = stored.matte.float().mul_(1 / 255)
        target[:, y0:y1, x0:x1] = stored.image.float().mul_(1 / 255).sub_(color).mul_(alpha).add_(color)
        return target.permute(1, 2, 0)

    @property
    def nbytes(self) -> int:
        return sum(stored.image.numel() + stored.matte.numel() for stored in self.frames.values())


def matte_box(matte: Tensor, margin: int = MARGIN) -> Box:
    """(x0, x1, y0, y1) of the non-zero part of a matte (H, W), widened by `margin`; the whole frame if it is empty."""
    rows, columns = matte.any(1).nonzero()[:, 0], matte.any(0).nonzero()[:, 0]
    height, width = matte.shape
    if len(rows) == 0:
        return 0, width, 0, height
    return (
        max(0, int(columns[0]) - margin),
        min(width, int(columns[-1]) + 1 + margin),
        max(0, int(rows[0]) - margin),
        min(height, int(rows[-1]) + 1 + margin),
    )


def load_frames(sequence: TrackedSequence, indices: list[int]) -> FrameStore:
    """Decode `indices` of `sequence`.

    Raises:
        UserError: A matte is empty in every frame, so there is nothing to refine on.
    """
    frames = {}
    for index in indices:
        matte = sequence.matte(index)
        box = matte_box(matte)
        x0, x1, y0, y1 = box
        frames[index] = StoredFrame(
            sequence.image(index)[y0:y1, x0:x1].permute(2, 0, 1).contiguous(), matte[y0:y1, x0:x1].contiguous(), box
        )
    if not any(bool(stored.matte.any()) for stored in frames.values()):
        raise UserError("every matte is empty: no frame shows a person.", where=sequence.folder)
    return FrameStore(frames, sequence.width, sequence.height)


def joined(first: Box, second: Box) -> Box:
    """The smallest box (x0, x1, y0, y1) around two; a box without pixels adds nothing."""
    if second[0] >= second[1] or second[2] >= second[3]:
        return first
    return min(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), max(first[3], second[3])
