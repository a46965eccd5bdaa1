"""Head and body apart: turn a rigid head pose into one of the body's root and one of the neck, exactly.

The fit places the head alone. Here the body gets a pose of its own, still or following the torso's motion in the
image, and the neck takes up the difference, so that the posed head is the same to rounding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.rig import NECK, ROOT, combine
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle
from spatialavatar.track.fit import Fit
from spatialavatar.track.model import FLIP, FaceModel, eyes_rotation, full_expression, head_position, head_rotation
from spatialavatar.track.observe import Observations
from spatialavatar.track.torso import distance_outside, torso_motion

# How much of the head's usual pitch and yaw the body takes over; a head that looks down does not bend the torso.
_PITCH_SHARE, _YAW_SHARE = 0.3, 0.6
# Zero-phase smoothing of the torso's motion, in seconds: registration is good to a tenth of a pixel or two.
_TORSO_SECONDS = 0.08
# What may be changed to bring the shoulders into the matte: standard deviations in radians and metres.
_BODY_TURN, _BODY_SHIFT = 0.2, 0.03
_BODY_WEIGHT, _BODY_FRAMES = 0.8, 8
# Following the torso: how far in front of the middle of the body its vertices are seen (metres); standard deviations of
# leaning and stepping (radians, metres) with a weight against square pixels; and what a jump from frame to frame costs.
_BODY_FRONT = 0.02
_LEAN, _STEP, _LEAN_PRIOR = 0.15, 0.05, 0.02
_STEADY_TURN, _STEADY_SHIFT = 2e3, 2e4


@torch.no_grad()
def world_motion(model: FaceModel, fit: Fit, observations: Observations) -> tuple[Motion, Tensor, Tensor]:
    """The motion in the world, whose origin is the head's median position, and the cameras.

    The frames of a video share one camera and one body, those of photos do not.

    Returns:
        T frames of motion, (T, 4, 4) camera from world, (T, 3, 3) intrinsics.
    """
    unknowns, view = fit.unknowns, fit.view
    together = observations.kind == "video"
    position, focal = head_position(unknowns, view)  # (T, 3) in camera metres, (T,)
    rotation = head_rotation(unknowns, view)  # (T, 3, 3)
    origin = position[fit.observed].median(0).values.expand_as(position) if together else position
    count = len(position)
    camera_from_world = torch.eye(4).repeat(count, 1, 1)
    camera_from_world[:, :3, :3] = torch.diag(FLIP)
    camera_from_world[:, :3, 3] = origin
    intrinsics = torch.zeros(count, 3, 3)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2] = view.principal
    intrinsics[:, 2, 2] = 1

    expression = full_expression(model, unknowns)
    joints = posed_joints(model.head, unknowns.identity, expression)  # (T, J, 3)
    # Where the head's rigid motion alone carries root and neck.
    place = (position - origin) * FLIP
    neck = turned(rotation, joints[:, NECK] - model.centre) + place

    body = body_rotation(rotation, fit.observed, together)
    if together:
        usual_neck = neck[fit.observed].median(0).values.expand_as(neck)
        usual_root = usual_neck + turned(body, joints[:, ROOT] - joints[:, NECK])
        torso = None
        # After a cut the torso is another picture, which cannot be registered with the one before.
        if len(observations.torsos) > 1 and not observations.cuts:
            seen = np.flatnonzero(observations.seen)
            # Nobody has moved far from where they are half way through.
            torso = torso_motion(observations.torsos, observations.size, int(seen[len(seen) // 2]))
        body, root = follow_torso(
            model, unknowns.identity, body, usual_root, torso, origin, intrinsics, observations.frame_rate
        )
    else:
        root = neck + turned(body, joints[:, ROOT] - joints[:, NECK])

    body, root = settle_body(model, unknowns.identity, body, root, origin, intrinsics, observations)

    motion = coupled_motion(
        expression, joints, body, rotation, root, neck, jaw=unknowns.jaw, eyes=eyes_rotation(unknowns.gaze)
    )
    return motion, camera_from_world, intrinsics


def settle_body(
    model: FaceModel,
    identity: Tensor,
    body: Tensor,
    root: Tensor,
    origin: Tensor,
    intrinsics: Tensor,
    observations: Observations,
) -> tuple[Tensor, Tensor]:
    """Turn and shift the torso a little so that no shoulder stands outside the matte.

    Args:
        body: (T, 3, 3) rotations; root: (T, 3) root joints in the world; both as guessed from the head.
        origin: (T, 3) world origin in camera metres.

    Returns:
        The two, mended: by one turn and shift for a video, by one each for photos.
    """
    together = observations.kind == "video"
    head = model.head
    is_body = head.skinning_weights[:, ROOT] > _BODY_WEIGHT
    if not bool(is_body.any()) or not observations.torsos:
        return body, root
    rig = head.restrict(torch.nonzero(is_body)[:, 0])
    prepared = rig.prepare_identity(identity)
    rest = prepared.shaped_template - prepared.joints[ROOT]
    seen = np.flatnonzero(observations.seen)
    frames = seen[np.unique(np.linspace(0, len(seen) - 1, _BODY_FRAMES).astype(int))] if together else seen
    index = torch.from_numpy(frames)
    maps = torch.from_numpy(
        np.stack([distance_outside(observations.torsos[int(k)], observations.size) for k in frames])
    )
    count = 1 if together else len(frames)
    turn = torch.zeros(count, 3, requires_grad=True)  # radians, about the root, in the world
    shift = torch.zeros(count, 2, requires_grad=True)  # metres, in the plane of the image
    focal = intrinsics[index, 0, 0]
    size = torch.nan_to_num(torch.from_numpy(observations.inter_ocular[frames]), nan=1.0)[:, None]
    optimiser = torch.optim.LBFGS([turn, shift], max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        rotation = rotation_matrix_from_axis_angle(turn) @ body[index]
        place = root[index] + torch.nn.functional.pad(shift, (0, 1))
        camera = (rest @ rotation.mT + place[:, None]) * FLIP + origin[index][:, None]
        pixels = camera[..., :2] / camera[..., 2:] * focal[:, None, None] + intrinsics[index][:, None, :2, 2]
        grid = pixels / observations.size * 2 - 1
        away = torch.nn.functional.grid_sample(maps[:, None], grid[:, None], align_corners=False)[:, 0, 0] / size
        value = away.square().mean() * 100 + (turn / _BODY_TURN).square().mean() + (shift / _BODY_SHIFT).square().mean()
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        optimiser.step(closure)
    turn, shift = turn.detach(), shift.detach()
    return rotation_matrix_from_axis_angle(turn) @ body, root + torch.nn.functional.pad(shift, (0, 1))


def posed_joints(head: Head, identity: Tensor, expression: Tensor) -> Tensor:
    """(T, J, 3) joints of a shaped head at rest, moved by expressions as the head's skinning has it; differentiable."""
    rig = head.rig
    shaped = rig.joint_template + combine(identity[None], rig.joint_identity_basis[: len(identity)])
    return shaped + combine(expression, rig.joint_expression_basis)


def coupled_motion(
    expression: Tensor,
    joints: Tensor,
    body: Tensor,
    head: Tensor,
    root: Tensor,
    neck: Tensor,
    *,
    jaw: Tensor,
    eyes: Tensor,
) -> Motion:
    """The motion in which body and head stand as they are given, each by itself; T frames.

    Args:
        expression: (T, E); joints: (T, J, 3) at rest under it.
        body, head: (T, 3, 3) rotations in the world.
        root, neck: (T, 3) posed joints in the world.
        jaw, eyes: (T, 3) and (T, 6), taken over.

    Posed: root at J_root + translation, neck joint at root + B (J_neck - J_root + neck_translation), head turned by
    B N. So N = B^T H, and the neck's translation is what is left.
    """
    return Motion(
        expression=expression,
        global_rotation=axis_angle_from_rotation_matrix(body),
        neck_rotation=axis_angle_from_rotation_matrix(body.mT @ head),
        jaw_rotation=jaw,
        eyes_rotation=eyes,
        translation=root - joints[:, ROOT],
        neck_translation=turned(body.mT, neck - root) - (joints[:, NECK] - joints[:, ROOT]),
    )


def body_rotation(head: Tensor, observed: Tensor, together: bool) -> Tensor:
    """(T, 3, 3) the torso's rotation guessed from the head's: upright, turned a part of the way the head usually is.

    Args:
        head: (T, 3, 3).
        observed: (T,) bool.
        together: One rotation for all frames, or one for each.
    """
    forward = head[..., 2]  # the face's z axis in the world
    yaw = torch.atan2(forward[:, 0], forward[:, 2])
    pitch = -torch.asin(forward[:, 1].clamp(-1, 1))
    if together:
        yaw = yaw[observed].median().expand_as(yaw)
        pitch = pitch[observed].median().expand_as(pitch)
    zero = torch.zeros_like(yaw)
    turn = rotation_matrix_from_axis_angle(torch.stack([zero, _YAW_SHARE * yaw, zero], -1))
    nod = rotation_matrix_from_axis_angle(torch.stack([_PITCH_SHARE * pitch, zero, zero], -1))
    return turn @ nod


def follow_torso(
    model: FaceModel,
    identity: Tensor,
    body: Tensor,
    root: Tensor,
    maps: NDArray[np.float64] | None,
    origin: Tensor,
    intrinsics: Tensor,
    frame_rate: float,
) -> tuple[Tensor, Tensor]:
    """Move the body rigidly, all frames together, so that its mesh moves in the image as the torso does.

    Args:
        body: (T, 3, 3) rotations; root: (T, 3) root joints in the world; the same in all frames.
        maps: (T, 2, 3) affine maps of `torso_motion`, or None where there is no torso to follow.
        origin: (T, 3) world origin in camera metres.
        intrinsics: (T, 3, 3).

    Returns:
        The two, moving. An affine map has growth and shear that a rotation in the image's plane and a shift have not:
        leaning forward is what makes them, and a body that may lean gains 1.5 dB on frames nobody trained on.
    """
    is_body = model.head.skinning_weights[:, ROOT] > _BODY_WEIGHT
    if maps is None or not bool(is_body.any()):
        return body, root
    rig = model.head.restrict(torch.nonzero(is_body)[:, 0])
    prepared = rig.prepare_identity(identity)
    points = (prepared.shaped_template - prepared.joints[ROOT]) @ body[0].mT + root[0]
    flip = FLIP.to(points)

    def project(points: Tensor) -> Tensor:
        camera = points * flip + origin[:, None]
        focal = intrinsics[:, 0, 0][:, None, None]
        return camera[..., :2] / camera[..., 2:] * focal + intrinsics[:, None, :2, 2]

    start = project(points.expand(len(maps), -1, -1))
    # The half of the body that faces the camera, as far as it lies in the picture or just below it.
    height = 2 * intrinsics[:, 1, 2].mean()
    front = points[:, 2] > points[:, 2].median() - _BODY_FRONT
    chosen = front & (start[..., 1].mean(0) > 0) & (start[..., 1].mean(0) < 1.1 * height)
    if int(chosen.sum()) < 10:
        return body, root
    points, start = points[chosen], start[:, chosen]
    smooth = torch.from_numpy(_smoothed(maps, frame_rate)).float()
    target = (smooth[:, None, :, :2] @ start[..., None])[..., 0] + smooth[:, None, :, 2]

    middle = points.mean(0)
    turn = torch.zeros(len(maps), 3, requires_grad=True)
    shift = torch.zeros(len(maps), 3, requires_grad=True)
    optimiser = torch.optim.LBFGS([turn, shift], max_iter=150, history_size=20, line_search_fn="strong_wolfe")
    rate = (frame_rate / 25) ** 2 if frame_rate > 0 else 1.0

    def closure() -> Tensor:
        optimiser.zero_grad()
        moved = (points - middle) @ rotation_matrix_from_axis_angle(turn).mT + middle + shift[:, None]
        value = (project(moved) - target).square().sum(-1).mean()
        value = value + _LEAN_PRIOR * ((turn / _LEAN).square().sum(1).mean() + (shift / _STEP).square().sum(1).mean())
        value = value + rate * _STEADY_TURN * turn.diff(dim=0).square().sum(1).mean()
        value = value + rate * _STEADY_SHIFT * shift.diff(dim=0).square().sum(1).mean()
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        optimiser.step(closure)
    # The middle of the motion, not the frame it was measured against, is where the neck hangs as the head has it.
    turn, shift = turn.detach(), shift.detach()
    turn, shift = turn - turn.median(0).values, shift - shift.median(0).values
    rotation = rotation_matrix_from_axis_angle(turn)
    return rotation @ body, middle + turned(rotation, root - middle) + shift


def _smoothed(maps: NDArray[np.float64], frame_rate: float) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    sigma = _TORSO_SECONDS * frame_rate
    if sigma < 0.3 or not math.isfinite(sigma):
        return maps
    return np.asarray(gaussian_filter1d(maps, sigma, axis=0, mode="nearest"))


def turned(rotation: Tensor, vectors: Tensor) -> Tensor:
    """(T, 3, 3) x (T, 3) -> (T, 3)."""
    return (rotation @ vectors[..., None])[..., 0]
