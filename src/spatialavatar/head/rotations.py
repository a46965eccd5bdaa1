"""Rotations as axis-angle vectors, matrices and quaternions (w first), on plain torch tensors of any leading shape.

Every function is differentiable with finite gradients at the identity, where the textbook formulas divide by zero:
tracking and refinement start there.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this squared angle the closed forms are replaced by their Taylor series. With two terms the series' relative
# error at the switch is below 1e-9, under the rounding of float32.
_SMALL_SQUARED_ANGLE = 1e-3


def rotation_matrix_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula.

    Args:
        axis_angle: (..., 3) axis times angle, radians.

    Returns:
        (..., 3, 3) rotation matrices that act on column vectors.
    """
    squared_angle = axis_angle.square().sum(dim=-1)
    is_small = squared_angle < _SMALL_SQUARED_ANGLE
    # The branch that is not taken must be finite too, or its gradient is 0 * inf.
    safe_squared_angle = torch.where(is_small, torch.ones_like(squared_angle), squared_angle)
    angle = safe_squared_angle.sqrt()
    half_sine = torch.sin(0.5 * angle)
    sine_over_angle = torch.where(
        is_small, 1 - squared_angle / 6 * (1 - squared_angle / 20 * (1 - squared_angle / 42)), torch.sin(angle) / angle
    )
    # 1 - cos(t) = 2 sin^2(t / 2) does not cancel.
    versine_over_square = torch.where(
        is_small,
        0.5 - squared_angle / 24 * (1 - squared_angle / 30 * (1 - squared_angle / 56)),
        2 * half_sine.square() / safe_squared_angle,
    )
    x, y, z = axis_angle.unbind(-1)
    sx, sy, sz = sine_over_angle * x, sine_over_angle * y, sine_over_angle * z
    vx, vy, vz = versine_over_square * x, versine_over_square * y, versine_over_square * z
    xx, yy, zz, xy, xz, yz = vx * x, vy * y, vz * z, vx * y, vx * z, vy * z
    entries = [1 - yy - zz, xy - sz, xz + sy, xy + sz, 1 - xx - zz, yz - sx, xz - sy, yz + sx, 1 - xx - yy]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def axis_angle_from_rotation_matrix(matrix: Tensor) -> Tensor:
    """The axis-angle vector of angle at most pi.

    Args:
        matrix: (..., 3, 3) rotation matrices.

    Returns:
        (..., 3) axis times angle, radians. At exactly pi either of the two answers.
    """
    quaternions = quaternions_wxyz_from_rotation_matrix(matrix)
    real, imaginary = quaternions[..., :1], quaternions[..., 1:]
    squared_sine = imaginary.square().sum(dim=-1, keepdim=True)
    is_small = squared_sine < _SMALL_SQUARED_ANGLE / 4
    safe_squared_sine = torch.where(is_small, torch.ones_like(squared_sine), squared_sine)
    sine = safe_squared_sine.sqrt()
    # asin(s) / s = 1 + s^2 / 6 + 3 s^4 / 40 + ...; the real part is not negative, so the half angle is at most pi / 2.
    series = 2 * (1 + squared_sine / 6 * (1 + squared_sine * (9 / 20) * (1 + squared_sine * (25 / 42))))
    angle_over_sine = torch.where(is_small, series, 2 * torch.atan2(sine, real) / sine)
    return angle_over_sine * imaginary


def quaternions_wxyz_from_rotation_matrix(matrix: Tensor) -> Tensor:
    """Unit quaternions with a real part that is not negative.

    Args:
        matrix: (..., 3, 3) rotation matrices.

    Returns:
        (..., 4) quaternions, w first.
    """
    m00, m01, m02 = matrix[..., 0, :].unbind(-1)
    m10, m11, m12 = matrix[..., 1, :].unbind(-1)
    m20, m21, m22 = matrix[..., 2, :].unbind(-1)
    # Row k of the symmetric matrix 4 q q^T is 4 q_k q. The row with the largest diagonal entry is the accurate one.
    ww = 1 + m00 + m11 + m22
    xx = 1 + m00 - m11 - m22
    yy = 1 - m00 + m11 - m22
    zz = 1 - m00 - m11 + m22
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    xy, xz, yz = m01 + m10, m02 + m20, m12 + m21
    rows = torch.stack(
        [
            torch.stack([ww, wx, wy, wz], dim=-1),
            torch.stack([wx, xx, xy, xz], dim=-1),
            torch.stack([wy, xy, yy, yz], dim=-1),
            torch.stack([wz, xz, yz, zz], dim=-1),
        ],
        dim=-2,
    )
    best = torch.stack([ww, xx, yy, zz], dim=-1).argmax(dim=-1)
    row = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    quaternions = row / row.square().sum(dim=-1, keepdim=True).sqrt()
    return torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def rotation_matrix_from_quaternions_wxyz(quaternions_wxyz: Tensor) -> Tensor:
    """Rotation matrices of quaternions, which need not be normalised.

    Args:
        quaternions_wxyz: (..., 4), w first, not zero.

    Returns:
        (..., 3, 3) rotation matrices.
    """
    w, x, y, z = quaternions_wxyz.unbind(-1)
    two = 2 / quaternions_wxyz.square().sum(dim=-1)
    xx, yy, zz = two * x * x, two * y * y, two * z * z
    xy, xz, yz = two * x * y, two * x * z, two * y * z
    wx, wy, wz = two * w * x, two * w * y, two * w * z
    entries = [1 - yy - zz, xy - wz, xz + wy, xy + wz, 1 - xx - zz, yz - wx, xz - wy, yz + wx, 1 - xx - yy]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def multiply_quaternions_wxyz(left: Tensor, right: Tensor) -> Tensor:
    """The Hamilton product: the rotation `right` followed by the rotation `left`.

    Args:
        left: (..., 4), w first.
        right: (..., 4), w first; leading shapes broadcast.

    Returns:
        (..., 4), w first.
    """
    lw, lx, ly, lz = left.unbind(-1)
    rw, rx, ry, rz = right.unbind(-1)
    return torch.stack(
        [
            lw * rw - lx * rx - ly * ry - lz * rz,
            lw * rx + lx * rw + ly * rz - lz * ry,
            lw * ry - lx * rz + ly * rw + lz * rx,
            lw * rz + lx * ry - ly * rx + lz * rw,
        ],
        dim=-1,
    )


def conjugate_quaternions_wxyz(quaternions_wxyz: Tensor) -> Tensor:
    """The inverse rotation of unit quaternions (..., 4)."""
    return torch.cat([quaternions_wxyz[..., :1], -quaternions_wxyz[..., 1:]], dim=-1)
