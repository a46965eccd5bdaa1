"""How an avatar holds itself and is looked at when nobody says otherwise: its resting motion and its own camera.

Both come from the frames the avatar was made from, so that its previews look like its source; without frames they
come from the head's size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle
from spatialavatar.splat.camera import Camera

# Without frames: a long lens, as in portraits, and the head filling this much of the picture's height.
_FIELD_OF_VIEW = math.radians(20.0)
_HEAD_FRACTION = 0.62
_DEFAULT_SIZE = 512


@dataclass(frozen=True, eq=False)
class Framing:
    """The resting motion and the camera that looks at it.

    rest: One frame: neutral expression, the head upright and facing the camera, the body under it as it usually is in
        the source.
    camera: The source's own camera at a typical frame, the head standing where it stood there.
    """

    rest: Motion
    camera: Camera


def head_rotation(motion: Motion) -> Tensor:
    """(B, 3, 3) orientation of the skull in the world: body, then neck."""
    body = rotation_matrix_from_axis_angle(motion.global_rotation)
    return body @ rotation_matrix_from_axis_angle(motion.neck_rotation)


def head_centers(head: Head, identity: Tensor, motion: Motion) -> Tensor:
    """(B, 3) where the skull is in the world: the mean of vertices that move with it and not with the body.

    Args:
        identity: (I,) coefficients.
        motion: B frames.
    """
    on_skull = _skull(head).nonzero()[:, 0]
    # A hundred vertices tell as much as all of them.
    rig = head.restrict(on_skull[:: max(1, len(on_skull) // 100)])
    return rig.pose(rig.prepare_identity(identity), replace(motion, expression=0 * motion.expression)).mean(1)


def _skull(head: Head) -> Tensor:
    """(V,) bool: vertices that move with the head and not with the body."""
    share = head.skinning_weights[:, 1:].sum(-1)
    return share >= min(0.9, 0.99 * float(share.max()))


def line_of_sight(center: Tensor, camera_position: Tensor) -> Tensor:
    """(..., 3, 3) orientation of a head at `center` that looks into the camera without leaning to a side.

    A face turned along the camera's axis but away from the middle of the picture is seen from below, or from a side:
    "straight ahead" has to mean towards the camera's place.

    Args:
        center, camera_position: (..., 3), world.
    """
    x, y, z = (camera_position - center).unbind(-1)
    zero = torch.zeros_like(x)
    yaw = rotation_matrix_from_axis_angle(torch.stack([zero, torch.atan2(x, z), zero], -1))
    pitch = rotation_matrix_from_axis_angle(torch.stack([-torch.atan2(y, torch.hypot(x, z)), zero, zero], -1))
    return yaw @ pitch


def typical_frame(
    head: Head, identity: Tensor, motion: Motion, camera_from_world: Tensor
) -> tuple[int, Tensor, Tensor]:
    """The frame in which the head is nearest to looking into the camera, upright, in the middle of its path.

    Args:
        identity: (I,).
        motion: T frames.
        camera_from_world: (T, 4, 4).

    Returns:
        Its index, where the skull is there (3,), and the line of sight from there (3, 3).
    """
    centers = head_centers(head, identity, motion)
    rotations, offsets = camera_from_world[:, :3, :3], camera_from_world[:, :3, 3:]
    sights = line_of_sight(centers, -(rotations.mT @ offsets)[..., 0])
    turns = axis_angle_from_rotation_matrix(sights.mT @ head_rotation(motion))
    away = centers - centers.median(0).values
    # A centimetre off the middle weighs as much as two degrees off the front.
    index = int((turns.norm(dim=-1) + away.norm(dim=-1) * math.radians(200.0)).argmin())
    return index, centers[index], sights[index]


def framing_of_head(head: Head, identity: Tensor) -> Framing:
    """A frontal portrait of a head of this identity, when no frames are known."""
    rest = head.neutral_motion()
    vertices = head.pose(identity, rest)[0]
    on_skull = vertices[_skull(head)]
    low, high = on_skull.amin(0), on_skull.amax(0)
    height = float(high[1] - low[1])
    rest = replace(rest, translation=-(0.5 * (low + high))[None])
    distance = height / _HEAD_FRACTION / (2 * math.tan(_FIELD_OF_VIEW / 2))
    camera = frontal_camera(distance, 0.5 / math.tan(_FIELD_OF_VIEW / 2), _DEFAULT_SIZE)
    center = head_centers(head, identity, rest)
    turned = replace(rest, global_rotation=axis_angle_from_rotation_matrix(line_of_sight(center, camera.position)))
    moved = turned.translation + center - head_centers(head, identity, turned)
    return Framing(replace(turned, translation=moved), camera)


def framing_of_frames(
    head: Head,
    identity: Tensor,
    motion: Motion,
    camera_from_world: Tensor,
    intrinsics: Tensor,
    width: int,
    height: int,
) -> Framing:
    """The framing of tracked frames.

    Args:
        head: The head model.
        identity: (I,) coefficients.
        motion: T tracked frames.
        camera_from_world: (T, 4, 4), OpenCV.
        intrinsics: (T, 3, 3), pixels.
        width, height: Size of the frames, pixels.

    The body's usual bend of the neck is the median over all frames. The camera is that of the typical frame, the
    resting head stands where it stood in that frame and looks into the camera.
    """
    motion = motion.detach()
    index, center, sight = typical_frame(head, identity, motion, camera_from_world)
    neck = motion.neck_rotation.median(0).values[None]
    rest = replace(
        head.neutral_motion(),
        global_rotation=axis_angle_from_rotation_matrix(sight @ rotation_matrix_from_axis_angle(neck).mT),
        neck_rotation=neck,
        neck_translation=motion.neck_translation.median(0).values[None],
    )
    rest = replace(rest, translation=center - head_centers(head, identity, rest))
    return Framing(rest, Camera(camera_from_world[index].float(), intrinsics[index].float(), width, height))


def frontal_camera(distance: float, focal: float, size: int) -> Camera:
    """A square camera on the +z axis that looks at the origin.

    Args:
        distance: Metres from the origin.
        focal: Focal length in image heights.
        size: Width and height in pixels.
    """
    # OpenCV's camera looks along its +z with y down: a half turn about x brings it before the face.
    camera_from_world = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    camera_from_world[2, 3] = distance
    intrinsics = torch.tensor([[focal * size, 0, size / 2], [0, focal * size, size / 2], [0, 0, 1.0]])
    return Camera(camera_from_world, intrinsics, size, size)


def resized(camera: Camera, size: int) -> Camera:
    """The same view with `size` pixels along its longer side, both sides even (as video codecs want them)."""
    factor = size / max(camera.width, camera.height)
    width, height = (max(2, 2 * round(factor * side / 2)) for side in (camera.width, camera.height))
    return camera.scaled((width, height))


def orbited(camera: Camera, target: Tensor, yaw: float, pitch: float, zoom: float = 1.0) -> Camera:
    """The camera moved around a point, looking at it from the same distance.

    Args:
        target: (3,) the point, world.
        yaw: Radians about the world's y axis; positive moves the camera to the subject's left.
        pitch: Radians; positive moves it up.
        zoom: Factor on the focal length about the target's own place in the picture.
    """
    turn = rotation_matrix_from_axis_angle(target.new_tensor([0.0, yaw, 0.0])) @ rotation_matrix_from_axis_angle(
        target.new_tensor([-pitch, 0.0, 0.0])
    )
    back = torch.eye(4, device=target.device)
    back[:3, :3] = turn.T
    back[:3, 3] = target - turn.T @ target
    in_camera = camera.camera_from_world[:3, :3] @ target + camera.camera_from_world[:3, 3]
    intrinsics = camera.intrinsics.clone()
    pixel = (intrinsics @ (in_camera / in_camera[2]))[:2]
    intrinsics[:2, :2] *= zoom
    # The target keeps its pixel.
    intrinsics[:2, 2] = pixel - zoom * (pixel - intrinsics[:2, 2])
    return Camera(camera.camera_from_world @ back, intrinsics, camera.width, camera.height)
