"""Closest points on a triangle soup."""

from __future__ import annotations

import numpy as np


def closest_points(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest point of a mesh to each of some points.

    Args:
        points: (N, 3).
        triangles: (F, 3, 3) corners.

    Returns:
        (N,) triangle, (N, 3) barycentric weights and (N,) distance.
    """
    results = [_closest_point(point, triangles) for point in points]
    return tuple(np.array(values) for values in zip(*results, strict=True))


def _closest_point(point: np.ndarray, triangles: np.ndarray) -> tuple[int, np.ndarray, float]:
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    candidates = [_inside(point, a, b, c)]
    # The nearest point is inside a triangle or on one of its edges.
    for corner, (start, end) in enumerate(((a, b), (b, c), (c, a))):
        edge = end - start
        t = np.clip(((point - start) * edge).sum(axis=1) / np.maximum((edge**2).sum(axis=1), 1e-18), 0, 1)
        weights = np.zeros((len(triangles), 3))
        weights[:, corner], weights[:, (corner + 1) % 3] = 1 - t, t
        candidates.append(weights)
    weights = np.stack(candidates)  # (4, F, 3)
    distance = np.linalg.norm((weights[..., None] * triangles).sum(axis=2) - point, axis=-1)
    distance[0] = np.where((candidates[0] >= 0).all(axis=1), distance[0], np.inf)
    kind, face = np.unravel_index(distance.argmin(), distance.shape)
    return int(face), weights[kind, face], float(distance[kind, face])


def _inside(point: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Weights of the point's projection into each triangle's plane."""
    u, v, w = b - a, c - a, point - a
    uu, uv, vv = (u * u).sum(axis=1), (u * v).sum(axis=1), (v * v).sum(axis=1)
    wu, wv = (w * u).sum(axis=1), (w * v).sum(axis=1)
    determinant = np.maximum(uu * vv - uv * uv, 1e-24)
    second, third = (vv * wu - uv * wv) / determinant, (uu * wv - uv * wu) / determinant
    return np.stack([1 - second - third, second, third], axis=-1)
