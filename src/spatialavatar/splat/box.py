"""Boxes of pixels: what need not be drawn or compared lies outside."""

from __future__ import annotations

from torch import Tensor

Box = tuple[int, int, int, int]
"""x0, x1, y0, y1: columns x0..x1-1 and rows y0..y1-1."""
MARGIN = 4
"""Pixels kept around the matte, so that its soft edge is inside."""


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


def joined(first: Box, second: Box) -> Box:
    """The smallest box (x0, x1, y0, y1) around two; a box without pixels adds nothing."""
    if second[0] >= second[1] or second[2] >= second[3]:
        return first
    return min(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), max(first[3], second[3])
