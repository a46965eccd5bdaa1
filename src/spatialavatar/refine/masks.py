"""Which pixels of a frame say something: where background was filmed, and what the loss leaves out."""

from __future__ import annotations

import torch
from torch import Tensor

from spatialavatar.refine.frame_store import FrameStore
from spatialavatar.refine.held_out import CHIN_LANDMARK
from spatialavatar.sequence.sequence import TrackedSequence

_BACKGROUND = 26
"""Mattes below it, of 255, count as background for certain: a tenth."""
_PERSON = 128
"""Mattes from it on, of 255, count as the person."""


def chin_row(sequence: TrackedSequence, frame: int) -> int:
    """The row of the chin's landmark; the image's height where it was not found."""
    landmarks = sequence.landmarks
    if landmarks is not None and bool(landmarks[frame, CHIN_LANDMARK].isfinite().all()):
        return max(0, int(landmarks[frame, CHIN_LANDMARK, 1]))
    return sequence.height


def ignore_mask(sequence: TrackedSequence, store: FrameStore, frame: int, *, body_outline: bool) -> Tensor:
    """(H, W, 1) bool: where the picture is compared with itself.

    That is beyond the source's picture, and, unless the body's outline is fitted, the background below the chin.
    """
    unknown = torch.ones(store.height, store.width, 1, dtype=torch.bool)
    x0, x1, y0, y1 = sequence.filmed(frame)
    unknown[y0:y1, x0:x1] = False
    if body_outline:
        return unknown
    stored = store.frames[frame]
    x0, x1, y0, y1 = stored.box
    empty = torch.ones_like(unknown)
    empty[y0:y1, x0:x1, 0] = stored.matte < _PERSON
    empty[: chin_row(sequence, frame)] = False
    return unknown | empty


def background_mask(sequence: TrackedSequence, store: FrameStore, frame: int, *, body_outline: bool) -> Tensor:
    """(H, W) bool: filmed pixels that show background; below the chin only if the body's outline is fitted."""
    stored = store.frames[frame]
    x0, x1, y0, y1 = stored.box
    empty = torch.ones(store.height, store.width, dtype=torch.bool)
    empty[y0:y1, x0:x1] = stored.matte < _BACKGROUND
    return empty & ~ignore_mask(sequence, store, frame, body_outline=body_outline)[..., 0]
