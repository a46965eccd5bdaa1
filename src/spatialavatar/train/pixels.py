"""L1 over the whole image and inside the face box (Eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor

Box = tuple[int, int, int, int]
"""x0, x1, y0, y1 in pixels, ends excluded."""


def l1(images: Tensor, targets: Tensor) -> Tensor:
    """(B,) mean absolute error of (B, C, H, W) pairs."""
    return (images - targets).abs().mean(dim=(1, 2, 3))


def box_l1(images: Tensor, targets: Tensor, boxes: list[Box]) -> Tensor:
    """(B,) mean absolute error of (B, C, H, W) pairs inside one box each; 0 where a box has no pixel."""
    values = []
    for image, target, (x0, x1, y0, y1) in zip(images, targets, boxes, strict=True):
        inside = (image[:, y0:y1, x0:x1] - target[:, y0:y1, x0:x1]).abs()
        values.append(inside.mean() if inside.numel() else image.sum() * 0)
    return torch.stack(values)


def dilated_box(points: Tensor, dilation: float, width: int, height: int) -> Box:
    """The box around pixels (L, 2), widened by a factor about its centre and cut to the image."""
    low, high = points.amin(0), points.amax(0)
    center, half = (low + high) / 2, (high - low) / 2 * dilation
    (x0, y0), (x1, y1) = (center - half).floor().tolist(), (center + half).ceil().tolist()
    return (
        int(min(max(x0, 0), width)),
        int(min(max(x1, 0), width)),
        int(min(max(y0, 0), height)),
        int(min(max(y1, 0), height)),
    )
