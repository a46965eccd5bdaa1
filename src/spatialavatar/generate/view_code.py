"""The view code: the target's view direction in sines and cosines (§3.2, Eq. 6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FREQUENCIES = 4
LENGTH = 3 + 3 * 2 * FREQUENCIES
"""27"""


def view_direction(camera_from_world: Tensor) -> Tensor:
    """(..., 3) unit third column of the world-to-camera matrix (..., 4, 4) (Eq. 6)."""
    return torch.nn.functional.normalize(camera_from_world[..., :3, 2], dim=-1)


def view_code(directions: Tensor) -> Tensor:
    """gamma(d) = [d, sin(pi d), cos(pi d), sin(2 pi d), ..., cos(8 pi d)].

    Args:
        directions: (..., 3) unit vectors.

    Returns:
        (..., 27).
    """
    parts = [directions]
    for power in range(FREQUENCIES):
        angle = (2**power * math.pi) * directions
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, -1)
