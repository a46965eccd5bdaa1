"""The view code: the target's view direction in sines and cosines (§3.2, Eq. 6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spatialavatar.generate.config import ViewFrame
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle

FREQUENCIES = 4
LENGTH = 3 + 3 * 2 * FREQUENCIES
"""27"""


def view_direction(camera_from_world: Tensor, motion: Motion, frame: ViewFrame = "head") -> Tensor:
    """The direction that the view code says (Eq. 6), for T frames.

    The paper's tracker keeps the head still and moves the camera; ours may do either, and only the two together say
    from where the head is seen. So the camera's axis is taken into the head's frame: turning the head by some angle and
    moving the camera around it by the opposite one give the same direction.

    Args:
        camera_from_world: (T, 4, 4), or (4, 4) for T = 1.
        motion: T frames of motion.
        frame: "head"; or "world", the unit third column of the world-to-camera matrix, which does not change while
            the head turns before a still camera (generators made before there was the choice).

    Returns:
        (T, 3) unit vectors.
    """
    cameras = camera_from_world.reshape(-1, 4, 4)
    if frame == "world":
        return torch.nn.functional.normalize(cameras[:, :3, 2], dim=-1)
    head = rotation_matrix_from_axis_angle(motion.global_rotation)
    head = head @ rotation_matrix_from_axis_angle(motion.neck_rotation)
    axis = torch.nn.functional.normalize(cameras[:, 2, :3], dim=-1)
    return (head.transpose(1, 2) @ axis[..., None])[..., 0]


def view_code(directions: Tensor) -> Tensor:
    """gamma(d) = [d, sin(pi d), cos(pi d), sin(2 pi d), ..., cos(8 pi d)].

    Args:
        directions: (..., 3) unit vectors.

    Returns:
        (..., 27).
    """
    parts = [directions]
    for power in range(FREQUENCIES):
        angle = (2**power * math.pi) * directions
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, -1)
