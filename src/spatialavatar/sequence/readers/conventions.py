"""Cameras, rotations and numbers as other programs write them, in our conventions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def opencv_from_opengl(world_from_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) camera to world, y up and z back, -> (4, 4) world to camera, y down and z forward."""
    turned = world_from_camera.copy()
    turned[:3, 1:3] *= -1
    try:
        return np.linalg.inv(turned)
    except np.linalg.LinAlgError:
        return np.full((4, 4), math.nan)


def pinhole(fx: float, fy: float, cx: float, cy: float) -> NDArray[np.float64]:
    """(3, 3) intrinsics."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def extrinsics(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) and (3,) -> (4, 4)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def rotation_from_6d(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6,) two rows, made orthonormal, and their cross product (Zhou et al. 2019) -> (3, 3)."""
    first = values[:3] / max(float(np.linalg.norm(values[:3])), 1e-12)
    second = values[3:] - (first @ values[3:]) * first
    second = second / max(float(np.linalg.norm(second)), 1e-12)
    return np.stack([first, second, np.cross(first, second)])


def axis_angle(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) -> (3,)."""
    from scipy.spatial.transform import Rotation

    if not np.isfinite(rotation).all() or np.linalg.det(rotation) <= 0:
        return np.full(3, math.nan)
    return Rotation.from_matrix(rotation).as_rotvec()


def numbers(value: Any, length: int | None = None) -> NDArray[np.float64]:
    """A flat array of numbers, NaN where the value is none of this length."""
    try:
        array = np.asarray(value)
        flat = array.astype(np.float64).reshape(-1) if array.dtype.kind in "biufO" else np.full(1, math.nan)
    except (TypeError, ValueError, OverflowError):
        return np.full(length or 1, math.nan)
    return flat if length is None or len(flat) == length else np.full(length, math.nan)
