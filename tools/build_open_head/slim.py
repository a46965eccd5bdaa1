"""Make a flattened mesh's triangles keep their shape, without ever turning one over.

Scalable locally injective mappings (Rabinovich, Poranne, Panozzo, Sorkine-Hornung, 2017) for the symmetric Dirichlet
energy: each step solves one sparse least-squares problem in which every triangle's Jacobian is pulled to its nearest
rotation, with weights that make the quadratic touch the true energy; then a line search stops short of any flip.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu


def relax(
    triangles: np.ndarray, rest: np.ndarray, weights: np.ndarray, plane: np.ndarray, free: np.ndarray, steps: int
) -> np.ndarray:
    """Minimise the sum of weights * (|J|^2 + |J^-1|^2) over the triangles.

    Args:
        triangles: (F, 3).
        rest: (F, 2, 2) edge vectors (as columns) of each triangle in the shape and size it should have.
        weights: (F,) positive.
        plane: (V, 2) start without flips, counter-clockwise.
        free: (V, 2) bool, coordinates that may move.
        steps: Number of steps.

    Returns:
        (V, 2)
    """
    gradient = _gradients(triangles, np.linalg.inv(rest), len(plane))
    index = np.flatnonzero(free.T.ravel())  # coordinates are stacked: all x, then all y
    identity = diags(np.full(len(index), 1e-9))
    for _ in range(steps):
        jacobians = _jacobians(gradient, plane)
        left, singular, right = np.linalg.svd(jacobians)
        rotations = left @ right
        # J is orientation preserving, so the product of U and V^T is a proper rotation.
        pull = np.sqrt(np.where(np.abs(singular - 1) < 1e-6, 4.0, (singular - singular**-3) / (singular - 1)))
        metric = np.einsum("fik,fk,fjk->fij", left, pull, left) * np.sqrt(weights)[:, None, None]
        system, target = _assemble(gradient, metric, metric @ rotations)
        flat = plane.T.ravel()
        residual = target - system @ flat
        reduced = system[:, index]
        normal = (reduced.T @ reduced + identity).tocsc()
        direction = np.zeros_like(flat)
        direction[index] = splu(normal).solve(reduced.T @ residual)
        direction = direction.reshape(2, -1).T
        plane = _line_search(triangles, gradient, weights, plane, direction)
    return plane


def energy(gradient, weights, plane) -> float:
    jacobians = _jacobians(gradient, plane)
    determinant = np.linalg.det(jacobians)
    if (determinant <= 0).any():
        return np.inf
    squared = (jacobians**2).sum(axis=(1, 2))
    return float((weights * squared * (1 + determinant**-2)).sum())


def _gradients(triangles, inverse_rest, count):
    """(Gx, Gy), each (F, V) sparse: derivative of a piecewise linear function along the rest triangle's two axes."""
    rows = np.tile(np.arange(len(triangles)), 3)
    columns = triangles.T.ravel()
    result = []
    for axis in range(2):
        second, third = inverse_rest[:, 0, axis], inverse_rest[:, 1, axis]
        values = np.concatenate([-second - third, second, third])
        result.append(coo_matrix((values, (rows, columns)), shape=(len(triangles), count)).tocsr())
    return result


def _jacobians(gradient, plane):
    return np.stack([g @ plane for g in gradient], axis=-1)  # (F, 2, 2)


def _assemble(gradient, metric, target):
    """Rows metric @ J = target for each triangle, unknowns (all x, all y)."""
    from scipy.sparse import bmat

    blocks, values = [], []
    for i in range(2):
        for axis, g in enumerate(gradient):
            blocks.append([diags(metric[:, i, 0]) @ g, diags(metric[:, i, 1]) @ g])
            values.append(target[:, i, axis])
    return bmat(blocks).tocsr(), np.concatenate(values)


def _line_search(triangles, gradient, weights, plane, direction):
    before = energy(gradient, weights, plane)
    step = min(1.0, 0.8 * _largest_step(plane[triangles], direction[triangles]))
    while energy(gradient, weights, plane + step * direction) >= before:
        step *= 0.5
        if step < 1e-8:
            return plane
    return plane + step * direction


def _largest_step(corners, moves):
    """The smallest positive time at which a triangle loses its area: a quadratic in time for each."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    da, db = moves[:, 1] - moves[:, 0], moves[:, 2] - moves[:, 0]
    cross = lambda p, q: p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]  # noqa: E731
    c, b1, a2 = cross(a, b), cross(a, db) + cross(da, b), cross(da, db)
    with np.errstate(all="ignore"):
        discriminant = np.sqrt(b1**2 - 4 * a2 * c)
        # The stable form of both roots.
        q = -0.5 * (b1 + np.where(b1 >= 0, discriminant, -discriminant))
        roots = np.stack([q / a2, c / q])
    roots = roots[np.isfinite(roots) & (roots > 0)]
    return roots.min() if len(roots) else np.inf
