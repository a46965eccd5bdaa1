"""What one camera never shows, as the start had it: now and then the avatar is looked at from the side (ours).

Along a camera's rays nothing is known. Gaussians lengthen, move and share colours there at no cost, and from 45 degrees
on the head wears spikes and patches that the start, made from many people seen from all sides, did not have. So every
few iterations both are drawn from a camera that has gone round the head, and the coarse difference counts. It is a
small share of the loss: wherever a frame shows something, the frame wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.avatar.binding import Binding, world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.refine.config import SideViews
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.render import render


def orbited(camera: Camera, centre: Tensor, yaw: float) -> Camera:
    """The camera after going round the vertical axis through a point.

    Args:
        camera: Where it stands.
        centre: (3,) the point, world metres.
        yaw: Radians, counter-clockwise as seen from above.
    """
    moved = torch.eye(4, dtype=camera.camera_from_world.dtype)
    moved[0, 0], moved[0, 2], moved[2, 0], moved[2, 2] = math.cos(yaw), math.sin(yaw), -math.sin(yaw), math.cos(yaw)
    moved[:3, 3] = centre - moved[:3, :3] @ centre
    # The camera moves by `moved`, so the world before it moves the other way.
    return replace(camera, camera_from_world=camera.camera_from_world @ moved.inverse())


def head_yaws(sequence: TrackedSequence) -> Tensor:
    """(T,) from which side each frame's camera sees the head, radians: 0 is from the front, positive from its left."""
    motion = sequence.motion
    world_from_head = rotation_matrix_from_axis_angle(motion.global_rotation) @ rotation_matrix_from_axis_angle(
        motion.neck_rotation
    )
    towards_camera = -sequence.camera_from_world[:, 2, :3]
    in_head = (world_from_head.transpose(1, 2) @ towards_camera[:, :, None])[:, :, 0]
    return torch.atan2(in_head[:, 0], in_head[:, 2])


def unseen_sides(yaws: Tensor, settings: SideViews) -> tuple[tuple[float, float], ...]:
    """Ranges of yaw, radians, from which next to no frame sees the head: none, one or two.

    Args:
        yaws: (T,) of the frames, radians.
    """
    low, high = yaws.quantile(yaws.new_tensor([0.05, 0.95])).tolist()
    away, most = math.radians(settings.least_degrees), math.radians(settings.most_degrees)
    ranges = ((-most, low - away), (high + away, most))
    return tuple((first, last) for first, last in ranges if first < last)


def draw_yaw(ranges: Sequence[tuple[float, float]], generator: torch.Generator) -> float:
    """A random yaw in one of some ranges; each range is as likely."""
    which, share = torch.rand(2, generator=generator).tolist()
    first, last = ranges[min(int(which * len(ranges)), len(ranges) - 1)]
    return first + share * (last - first)


def side_loss(
    local: LocalGaussians,
    start: LocalGaussians,
    vertices: Tensor,
    binding: Binding,
    camera: Camera,
    background: Tensor,
    coarse: int,
) -> Tensor:
    """Mean absolute difference between the avatar and its start in averages of `coarse` x `coarse` pixels, a scalar.

    Args:
        local: The Gaussians as they stand, attached to what is refined.
        start: As they were.
        vertices: (V, 3) of the posed mesh, the same for both.
        binding: Of both.
        camera: Where to look from.
        background: (3,).
        coarse: Finer detail is left to the frames.
    """
    pictures = []
    for gaussians in (local, start):
        with torch.set_grad_enabled(gaussians is local):
            image = render(world_from_local(gaussians, vertices, binding), camera, background).image
            pictures.append(functional.avg_pool2d(image.permute(2, 0, 1)[None], coarse))
    return (pictures[0] - pictures[1]).abs().mean()
