"""Frames at the size training compares them in, decoded once and kept as bytes while memory lasts."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.sequence.sequence import TrackedSequence

MOST_BYTES = 2 << 30
"""Kept per process; what does not fit is decoded again each time."""


def scaled_frame(sequence: TrackedSequence, frame: int, size: int) -> tuple[Tensor, Tensor]:
    """Straight colour (3, h, w) and matte (1, h, w), bytes, `size` pixels along the longer side.

    Colours are averaged by their matte, so that no background bleeds in.
    """
    matte = sequence.matte(frame).float()[None] / 255
    image = sequence.image(frame).permute(2, 0, 1).float()
    factor = size / max(sequence.width, sequence.height)
    shape = (max(1, round(sequence.height * factor)), max(1, round(sequence.width * factor)))
    stacked = torch.cat([image * matte, matte])
    if shape != stacked.shape[-2:]:
        stacked = functional.interpolate(stacked[None], shape, mode="bilinear", antialias=True, align_corners=False)[0]
    coverage = stacked[3:]
    straight = stacked[:3] / coverage.clamp_min(1e-3)
    return straight.clamp(0, 255).round().to(torch.uint8), (coverage.clamp(0, 1) * 255).round().to(torch.uint8)


class PictureStore:
    """`scaled_frame`, remembered by the caller's key. The result never depends on what is remembered."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self.most_bytes = most_bytes
        self.nbytes = 0
        self._known: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}

    def frame(
        self, key: tuple[int, int, int], sequence: TrackedSequence, frame: int, size: int
    ) -> tuple[Tensor, Tensor]:
        """The frame's colour and matte; `key` is (subject, camera, frame)."""
        if key in self._known:
            return self._known[key]
        made = scaled_frame(sequence, frame, size)
        grown = self.nbytes + sum(part.numel() for part in made)
        if grown <= self.most_bytes:
            self._known[key], self.nbytes = made, grown
        return made
