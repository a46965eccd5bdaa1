"""From which side a picture sees a head: the angle to the nearest view that was filmed, in bands."""

from __future__ import annotations

import torch
from torch import Tensor

from spatialavatar.avatar.framing import head_rotation
from spatialavatar.head.motion import Motion

BANDS = ((0.0, 15.0), (15.0, 30.0), (30.0, 45.0), (45.0, 60.0), (60.0, 90.0))
"""Degrees; the lower edge belongs to the band, and the upper edge of the last one too."""
BEYOND = "beyond 90"


def band_name(band: tuple[float, float]) -> str:
    return f"{band[0]:.0f}-{band[1]:.0f}"


BAND_NAMES = tuple(band_name(band) for band in BANDS)


def band_of(angle: float) -> str:
    """The name of the band in which an angle (degrees) lies; `BEYOND` past the last."""
    if not angle >= 0:
        raise ValueError(f"an angle is at least 0 degrees, found {angle}")
    for band in BANDS:
        if angle < band[1] or (band == BANDS[-1] and angle <= band[1]):
            return band_name(band)
    return BEYOND


def view_directions(motion: Motion, centers: Tensor, camera_positions: Tensor) -> Tensor:
    """(T, 3) unit vectors from the head to the camera, in the head's own axes (x to its left, y up, z forward).

    Args:
        motion: T frames.
        centers: (T, 3) where the head is in the world.
        camera_positions: (T, 3) or (3,) where the camera is.
    """
    towards = camera_positions - centers
    inside = (head_rotation(motion).mT @ towards[..., None])[..., 0]
    return inside / inside.norm(dim=-1, keepdim=True)


def nearest_angles(directions: Tensor, filmed: Tensor) -> Tensor:
    """(T,) degrees from each direction (T, 3) to the nearest of the filmed ones (F, 3), all unit vectors."""
    # Of nearly equal vectors the arc sine of half their difference is exact where the arc cosine is not.
    half = torch.cdist(directions.double(), filmed.double()).amin(1) / 2
    return torch.rad2deg(2 * torch.asin(half.clamp(max=1.0)))
