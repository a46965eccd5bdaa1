"""The fixed numbers of 3D Gaussian splatting, shared by every back end.

They are the field's usual ones (3DGS, gsplat 1.5). The compiled kernel repeats them in ``native/constants.hpp``;
a test compares the two.
"""

from __future__ import annotations

ALPHA_MIN = 1.0 / 255.0
"""A Gaussian adds nothing to a pixel where its alpha is below this: one step of an 8-bit image."""

ALPHA_MAX = 0.999
"""Alpha is clamped here, so that the transmittance never becomes exactly zero."""

TRANSMITTANCE_MIN = 1e-4
"""A pixel is finished, and the Gaussian that would do it left out, when its transmittance would fall to this."""

DILATION = 0.3
"""Added to both variances of the projected covariance, in square pixels: no Gaussian is thinner than a pixel."""

NEAR = 0.01
"""Gaussians whose centre is at this depth or nearer are not drawn, in metres."""

FRUSTUM_MARGIN = 0.3
"""The projection is linearised no further outside the image than this share of half its field of view."""

MAX_IMAGE_SIZE = 16384
"""Largest width or height the CPU kernel accepts (its tile coordinates are 16 bits wide)."""

MAX_LENGTH = 1e6
"""Metres: Gaussians further from the origin or larger than this are skipped; their squares would leave float32."""

MIN_SQUARED_QUATERNION = 1e-24
"""A quaternion whose squared norm is smaller stands for no rotation; its Gaussian is skipped."""
