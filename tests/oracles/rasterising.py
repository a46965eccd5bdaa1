"""The slow truth for the mesh rasteriser: every sample against every triangle, by rays in space, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cast_rays(
    points: NDArray[np.float64], faces: NDArray[np.integer], intrinsics: NDArray[np.float64], width: int, height: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Intersect the ray of each sample with each triangle.

    Args:
        points: (V, 3) in the camera's frame. faces: (F, 3).
        intrinsics: (3, 3), in samples.

    Returns:
        (H, W) nearest triangle or -1, (H, W, 3) weights of its corners, (H, W) depth.
    """
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack(
        [
            (column - intrinsics[0, 2]) / intrinsics[0, 0],
            (row - intrinsics[1, 2]) / intrinsics[1, 1],
            np.ones_like(row),
        ],
        -1,
    )
    face = np.full((height, width), -1)
    weights = np.zeros((height, width, 3))
    depth = np.full((height, width), np.inf)
    for index, corners in enumerate(points[faces]):
        # depth * ray = u a + v b + w c with u + v + w = 1: Cramer's rule for a + v (b - a) + w (c - a) = depth * ray.
        a, first, second = corners[0], corners[1] - corners[0], corners[2] - corners[0]
        normal = np.cross(first, second)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = (a @ normal) / (rays @ normal)
            hit = rays * far[..., None] - a
            square = normal @ normal
            v = np.cross(hit, second) @ normal / square
            w = np.cross(first, hit) @ normal / square
        u = 1 - v - w
        inside = (u >= 0) & (v >= 0) & (w >= 0) & (far > 0) & (far < depth)
        face[inside], depth[inside] = index, far[inside]
        weights[inside] = np.stack([u, v, w], -1)[inside]
    return face, weights, depth
