"""Outlines as extents: how far a shape reaches in each of some directions of the image.

The extents of a matte and of a projected mesh can be compared and differentiated without drawing anything: the
mesh's is the largest projection of a vertex on the direction (the support function of its convex hull).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Angles from the image's upwards direction, clockwise: all round the skull down to the ears, none to the shoulders.
_ANGLES = np.radians(np.linspace(-100, 100, 41))
DIRECTIONS: NDArray[np.float32] = np.stack([np.sin(_ANGLES), -np.cos(_ANGLES)], 1).astype(np.float32)
"""(D, 2) unit vectors, x right, y down."""

NOSE_BASE, FOREHEAD, CHIN = 2, 10, 152


def upper_region(landmarks: NDArray[np.float32], size: int) -> NDArray[np.bool_]:
    """(size, size) bool: the side of the line through the base of the nose, across the face, that the brows are on.

    Above it a matte is head and hair (and no shoulder); long hair beside the face counts.
    """
    line, direction = cut_line(landmarks)
    y, x = np.mgrid[0:size, 0:size] + 0.5
    return (x - line[0]) * direction[0] + (y - line[1]) * direction[1] >= 0


def cut_line(landmarks: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A point (2,) on the cut through the base of the nose and the unit vector (2,) from it towards the forehead."""
    up = landmarks[FOREHEAD] - landmarks[CHIN]
    return landmarks[NOSE_BASE], (up / max(float(np.linalg.norm(up)), 1e-6)).astype(np.float32)


def matte_extents(
    matte: NDArray[np.uint8], region: NDArray[np.bool_], inside: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """(D,) extents in pixels of the matte (H, W) within the region; NaN where the frame's edge cuts the subject."""
    solid = (matte > 127) & region
    edge = _boundary(solid)
    rows, columns = np.nonzero(edge)
    if len(rows) == 0:
        return np.full(len(DIRECTIONS), np.nan, np.float32)
    points = np.stack([columns + 0.5, rows + 0.5], 1).astype(np.float32)
    reach = points @ DIRECTIONS.T  # (N, D)
    best = reach.argmax(0)
    # The edge lies half way to the next pixel outside, which is half a pixel along an axis and less along a diagonal.
    extents = reach[best, np.arange(len(DIRECTIONS))] + 0.5 * np.abs(DIRECTIONS).max(1)
    at = points[best]
    width = matte.shape[1]
    cut = (at[:, 0] < 1.5) | (at[:, 1] < 1.5) | (at[:, 0] > width - 1.5)
    if inside is not None:
        rows_in, columns_in = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        cut |= at[:, 0] < columns_in[0] + 1.5
        cut |= at[:, 0] > columns_in[-1] - 0.5
        cut |= at[:, 1] < rows_in[0] + 1.5
    return np.where(cut, np.nan, extents).astype(np.float32)


def mesh_extents(points: Tensor) -> Tensor:
    """(..., N, 2) projected vertices -> (..., D) extents in pixels."""
    return (points @ torch.from_numpy(DIRECTIONS).to(points).mT).amax(-2)


def outline_vertices(vertices: Tensor, least_height: float, *, turns: int = 9, top: int = 3) -> Tensor:
    """The vertices that can lie on the outline of the upper head in any direction and pose.

    Args:
        vertices: (V, 3) at rest, x left, y up, z front.
        least_height: Lowest y that counts.
        turns: Yaw and pitch angles tried, each way.
        top: So many vertices are kept per direction and pose, since identities move them against each other.

    Returns:
        (N,) sorted vertex indices.
    """
    upper = torch.nonzero(vertices[:, 1] >= least_height)[:, 0]
    chosen = torch.zeros(len(vertices), dtype=torch.bool)
    directions = torch.from_numpy(DIRECTIONS).to(vertices) * vertices.new_tensor([1.0, -1.0])
    for yaw in torch.linspace(-1.1, 1.1, turns).tolist():
        for pitch in torch.linspace(-0.6, 0.6, 5).tolist():
            right = vertices.new_tensor([math.cos(yaw), 0.0, -math.sin(yaw)])
            up = vertices.new_tensor(
                [math.sin(yaw) * math.sin(pitch), math.cos(pitch), math.cos(yaw) * math.sin(pitch)]
            )
            flat = vertices[upper] @ torch.stack([right, up], -1)  # (N, 2)
            reach = flat @ directions.mT
            chosen[upper[reach.topk(min(top, len(upper)), dim=0).indices.flatten()]] = True
    return torch.nonzero(chosen)[:, 0]


def _boundary(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the shape with a neighbour outside it."""
    padded = np.pad(solid, 1)
    within = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return solid & ~within
