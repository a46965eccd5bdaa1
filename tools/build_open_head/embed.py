"""Flatten a disk-shaped mesh into a convex outline so that its triangles get the area they are to have.

Tutte's theorem: with positive spring constants and the boundary fixed on a convex polygon, the equilibrium has no
overlap. The springs of a triangle that came out too large are then stiffened, step by step (in the spirit of
Yoshizawa, Belyaev, Seidel, "A fast and simple stretch-minimizing mesh parameterization", 2004): they stay positive, so
nothing ever overlaps.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

STIFFENING = 0.4


def embed_disk(
    triangles: np.ndarray,
    positions: np.ndarray,
    target_areas: np.ndarray,
    boundary: np.ndarray,
    boundary_positions: np.ndarray,
    symmetry: np.ndarray,
    steps: int,
) -> np.ndarray:
    """Flatten.

    Args:
        triangles: (F, 3) vertices of the disk; every vertex is used.
        positions: (V, 3) of the surface.
        target_areas: (F,) area each triangle should have; they sum to the outline's.
        boundary: (B,) boundary loop.
        boundary_positions: (B, 2) where it goes, a convex polygon.
        symmetry: (V,) vertex on the other side: the result is symmetric about x = 0.
        steps: How often the springs are adapted.

    Returns:
        (V, 2) positions in the plane.
    """
    edges, sides = edges_of(triangles)
    springs = _cotangents(triangles, positions, edges)
    interior = np.ones(len(positions), bool)
    interior[boundary] = False
    plane = np.zeros((len(positions), 2))
    plane[boundary] = boundary_positions
    for _ in range(steps):
        plane = symmetrise(_solve(edges, springs, plane, interior), symmetry)
        ratio = np.maximum(areas(plane[triangles]), 1e-9) / target_areas
        springs = springs * (ratio[sides[:, 0]] * ratio[sides[:, 1]]) ** (0.5 * STIFFENING)
        springs = np.clip(springs / np.exp(np.log(springs).mean()), 1e-7, 1e7)
    return plane


def symmetrise(plane: np.ndarray, symmetry: np.ndarray) -> np.ndarray:
    """Average a flattening with its mirror image, so that rounding leaves both sides equal."""
    return 0.5 * (plane + plane[symmetry] * [-1, 1])


def edges_of(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unique edges (E, 2) and the two triangles at each (E, 2), the same one twice on the boundary."""
    half = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(triangles)), 3)
    edges, inverse, counts = np.unique(half, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    first = np.cumsum(counts) - counts
    return edges, np.stack([owner[order][first], owner[order][first + counts - 1]], axis=1)


def areas(corners: np.ndarray) -> np.ndarray:
    """(F,) areas of triangles (F, 3, 2 or 3)."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    if corners.shape[-1] == 2:
        return 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    return 0.5 * np.linalg.norm(np.cross(a, b), axis=1)


def _cotangents(triangles: np.ndarray, positions: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The springs that keep angles, bounded away from zero where triangles are obtuse."""
    number = {edge: index for index, edge in enumerate(map(tuple, edges.tolist()))}
    springs = np.zeros(len(edges))
    for a, b, apex in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        u = positions[triangles[:, a]] - positions[triangles[:, apex]]
        v = positions[triangles[:, b]] - positions[triangles[:, apex]]
        cotangent = (u * v).sum(axis=1) / np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-12)
        ends = np.sort(triangles[:, [a, b]], axis=1).tolist()
        np.add.at(springs, [number[tuple(edge)] for edge in ends], 0.5 * cotangent)
    return np.clip(springs, 0.05, 20)


def _solve(edges: np.ndarray, springs: np.ndarray, plane: np.ndarray, interior: np.ndarray) -> np.ndarray:
    """Equilibrium of the interior vertices with the others fixed."""
    count = len(plane)
    upper = coo_matrix((springs, (edges[:, 0], edges[:, 1])), shape=(count, count))
    adjacency = (upper + upper.T).tocsr()
    laplacian = (diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency).tocsr()
    free, fixed = np.flatnonzero(interior), np.flatnonzero(~interior)
    solution = plane.copy()
    if len(free):
        right_hand_side = -laplacian[free][:, fixed] @ plane[fixed]
        solution[free] = splu(laplacian[free][:, free].tocsc()).solve(right_hand_side)
    return solution
