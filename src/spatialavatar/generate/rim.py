"""Where a picture is not to be believed: beside outlines, where a pixel's error shows something else (ours).

Points, mattes and cameras of real pictures are off by a pixel or two. Inside a face that blurs; beside an outline it
puts the collar on the jaw, the cheek on the nose, and the wall, or a rim of light, on the far side of the head, where
the little that a picture shows at a slant is spread over much surface.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.generate.sources import erode, sample_image

STEP = (0.02, 0.04)
"""Metres between a point and the nearest or furthest surface beside it in the picture: an outline runs there from the
first on for some, from the second on for sure. The slant of a cheek makes less, a nose before it or a jaw before a
collar more."""
COVERED = 0.5
"""Coverage from which a pixel of the depth picture counts as drawn."""


def within_matte(matte: Tensor, radius: int) -> Tensor:
    """`matte` (H, W) shrunk by 1 to `radius` pixels, averaged: it rises from the person's outline inwards."""
    return torch.stack([erode(matte, r) for r in range(1, max(1, radius) + 1)]).mean(0)


def away_from_steps(depth: Tensor, alpha: Tensor, points: Tensor, pixels: Tensor, radius: int) -> Tensor:
    """How far each point is from where one part of the person hides another, as the picture shows it.

    Args:
        depth: (H, W) metres of the drawn surface.
        alpha: (H, W) its coverage; what is not covered tells nothing, since mattes mark that outline.
        points: (N,) depths of points.
        pixels: (N, 2) where they lie in this picture, pixel centres at + 0.5.
        radius: Pixels that count as beside.

    Returns:
        (N,) 1 where all depths within `radius` are about the point's own, 0 where one is STEP away.
    """
    width = 2 * radius + 1
    drawn = alpha > COVERED

    def most(values: Tensor) -> Tensor:
        known = torch.where(drawn, values, -torch.inf)
        found = functional.max_pool2d(known[None, None], width, stride=1, padding=radius)[0, 0]
        # Where nothing is drawn near by there is no step either.
        return torch.where(found.isfinite(), found, torch.nan)

    furthest, nearest = most(depth), -most(-depth)
    at = sample_image(torch.stack([furthest, nearest], -1), pixels)
    step = torch.maximum(at[:, 0] - points, points - at[:, 1]).nan_to_num(nan=0.0)
    low, high = STEP
    return 1 - ((step - low) / (high - low)).clamp(0, 1)
