"""Light that stays where it is while a head turns (ours): one factor of brightness for each triangle.

A face that bows turns away from the lamp above it and darkens. Colours that hold for every pose cannot say so, and a
mean of all poses is wrong in each. Eight numbers can: the light from every direction, in the second order of spherical
harmonics, which is all that a matt surface shows of it (Ramamoorthi and Hanrahan, 2001). They count against the rest:
there, and for whatever leaves the light out, an avatar looks as its colours say.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.avatar.binding import face_normals

SHADES = 8
"""Numbers of a light: bands 1 and 2 of the real spherical harmonics. Band 0, the mean, is in the colours."""
DARKEST, BRIGHTEST = 0.6, 1.5
"""Factors that no light exceeds, wherever a head is turned to: farther than a video shows, light is a guess."""


def shades(normals: Tensor) -> Tensor:
    """(N, 3) unit normals -> (N, 8) real spherical harmonics of bands 1 and 2, unnormalised."""
    x, y, z = normals.unbind(-1)
    return torch.stack([x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], -1)


def triangle_shades(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F, 8) `shades` of a mesh's triangles, in the world."""
    return shades(functional.normalize(face_normals(vertices, faces), dim=1))


def brightness(light: Tensor, now: Tensor, at_rest: Tensor) -> Tensor:
    """(F,) how much brighter each triangle is than at rest.

    Args:
        light: (8,).
        now, at_rest: (F, 8) of `triangle_shades`.
    """
    return (1 + (now - at_rest) @ light).clamp(DARKEST, BRIGHTEST)
