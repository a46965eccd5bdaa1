"""The training frames, decoded once and kept as bytes, cropped to where the person is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.sequence.sequence import TrackedSequence

MARGIN = 4
"""Pixels kept around the matte, so that its soft edge is inside."""


@dataclass(frozen=True)
class StoredFrame:
    """image (h, w, 3) and matte (h, w) bytes of a box; box is (x0, x1, y0, y1) in the frame, ends excluded."""

    image: Tensor
    matte: Tensor
    box: tuple[int, int, int, int]


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
        target = background.expand(self.height, self.width, 3).contiguous()
        alpha = (stored.matte.float() * (1 / 255))[..., None]
        inside = stored.image.float().mul_(1 / 255).sub_(background).mul_(alpha).add_(background)
        target[y0:y1, x0:x1] = inside
        return target

    @property
    def nbytes(self) -> int:
        return sum(stored.image.numel() + stored.matte.numel() for stored in self.frames.values())


def matte_box(matte: Tensor, margin: int = MARGIN) -> tuple[int, int, int, int]:
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
            sequence.image(index)[y0:y1, x0:x1].contiguous(), matte[y0:y1, x0:x1].contiguous(), box
        )
    if not any(bool(stored.matte.any()) for stored in frames.values()):
        raise UserError("every matte is empty: no frame shows a person.", where=sequence.folder)
    return FrameStore(frames, sequence.width, sequence.height)


def loss_box(
    box: tuple[int, int, int, int], means2d: Tensor, radii: Tensor, width: int, height: int
) -> tuple[int, int, int, int]:
    """The part of the picture in which image and target can differ: the matte's box joined with what was drawn."""
    # Gaussians that are not drawn stand in the box's corner, where they change nothing.
    corner = means2d.new_tensor([box[0], box[2]])
    centers = torch.where(radii[:, None] > 0, means2d, corner)
    low = (centers - radii[:, None]).amin(0)
    high = (centers + radii[:, None]).amax(0)
    left, top = torch.floor(low).int().tolist()
    right, bottom = (torch.ceil(high).int() + 1).tolist()
    return (
        max(0, min(box[0], left)),
        min(width, max(box[1], right)),
        max(0, min(box[2], top)),
        min(height, max(box[3], bottom)),
    )
