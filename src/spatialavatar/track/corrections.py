"""What the photometric stage turns: corrections to a tracking, with the head and the body moving apart.

A motion couples the two: the head hangs on the neck, the neck on the body. Corrections are made in the world instead,
the head's about its own middle and the body's about its root, and turned back into a motion exactly; so a shoulder
that is moved leaves the face where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.rig import NECK, ROOT
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.track.body import coupled_motion, posed_joints, turned

CORRECTION_UNITS = {
    **{"expression": 0.3, "jaw": 0.05, "gaze": 0.15, "head_turn": 0.03, "head_shift": 0.007},
    **{"body_turn": 0.03, "body_shift": 0.015},
}
"""About how far each moves in a fit: activations, radians, metres."""


@dataclass(frozen=True)
class Anchor:
    """The tracking that is corrected, with body and head apart; T frames.

    Attributes:
        motion: T frames.
        body, head: (T, 3, 3) rotations in the world.
        root, neck: (T, 3) posed joints in the world.
        middle: (T, 3) middle of the face in the world, about which the head turns.
        bounded: Whether expressions are activations in [0, 1].
    """

    motion: Motion
    body: Tensor
    head: Tensor
    root: Tensor
    neck: Tensor
    middle: Tensor
    bounded: bool

    def __getitem__(self, frames: Sequence[int]) -> Anchor:
        """Some of the frames."""
        part = list(frames)
        tensors = {name: getattr(self, name)[part] for name in ("body", "head", "root", "neck", "middle")}
        return replace(self, motion=self.motion[part], **tensors)


@dataclass(frozen=True)
class Corrections:
    """What is added to T frames of an anchor; zeros change nothing.

    Attributes:
        expression: (T, E).
        jaw: (T, 3) radians; stays zero where expressions open the jaw.
        gaze: (T, 6) radians, left eye then right.
        head_turn, body_turn: (T, 3) axis-angle in the world, about the face's middle and about the root.
        head_shift, body_shift: (T, 3) metres in the world.
    """

    expression: Tensor
    jaw: Tensor
    gaze: Tensor
    head_turn: Tensor
    head_shift: Tensor
    body_turn: Tensor
    body_shift: Tensor

    @staticmethod
    def none(frames: int, expressions: int) -> Corrections:
        """`frames` frames of zeros."""
        widths = {"expression": expressions, "gaze": 6}
        return Corrections(**{f.name: torch.zeros(frames, widths.get(f.name, 3)) for f in fields(Corrections)})


def make_anchor(head: Head, identity: Tensor, motion: Motion) -> Anchor:
    """Take a motion apart. `identity` (I',) is the one the motion was found with."""
    bounded = "jawOpen" in head.expression_names
    joints = posed_joints(head, identity, motion.expression)
    body = rotation_matrix_from_axis_angle(motion.global_rotation)
    head_rotation = body @ rotation_matrix_from_axis_angle(motion.neck_rotation)
    root = joints[:, ROOT] + motion.translation
    neck = root + turned(body, joints[:, NECK] - joints[:, ROOT] + motion.neck_translation)
    # Between the eyes, a little into the head: turning about it moves the face least.
    eyes = joints[:, -2:].mean(1)
    return Anchor(
        motion, body, head_rotation, root, neck, neck + turned(head_rotation, eyes - joints[:, NECK]), bounded
    )


def zoomed(
    vertices: Tensor, camera_from_world: Tensor, zoom: Tensor, depth: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Vertices as a lens `zoom` times as long would show them: in the world and in the camera's frame.

    A longer lens is the same as a scene that is wider in the camera's frame; so it needs no gradient of cameras.

    Args:
        vertices: (B, V, 3).
        camera_from_world: (B, 4, 4).
        zoom: (1,) for all, or (B, 1).
        depth: (B,), where given: the scene also moves away from the camera, so that what is at this depth stays as
            large.
    """
    rotation, shift = camera_from_world[:, :3, :3], camera_from_world[:, None, :3, 3]
    zoom = zoom.expand(len(vertices), 1)
    one = torch.ones_like(zoom)
    in_camera = (vertices @ rotation.mT + shift) * torch.cat([zoom, zoom, one], 1)[:, None]
    if depth is not None:
        away = (zoom - 1) * depth[:, None]
        in_camera = in_camera + torch.cat([0 * one, 0 * one, away], 1)[:, None]
    return (in_camera - shift) @ rotation, in_camera


def corrected(head: Head, identity: Tensor, anchor: Anchor, corrections: Corrections) -> Motion:
    """The motion of a corrected tracking, differentiable in identity and corrections.

    Args:
        identity: (I',), which may differ from the anchor's: root, neck and face stay where they are.
        anchor, corrections: Of the same T frames.
    """
    motion = anchor.motion
    expression = motion.expression + corrections.expression
    if anchor.bounded:
        expression = expression.clamp(0, 1)
    joints = posed_joints(head, identity, expression)
    body = rotation_matrix_from_axis_angle(corrections.body_turn) @ anchor.body
    turn = rotation_matrix_from_axis_angle(corrections.head_turn)
    neck = anchor.middle + turned(turn, anchor.neck - anchor.middle) + corrections.head_shift
    root = anchor.root + corrections.body_shift
    return coupled_motion(
        expression,
        joints,
        body,
        turn @ anchor.head,
        root,
        neck,
        jaw=motion.jaw_rotation + corrections.jaw,
        eyes=motion.eyes_rotation + corrections.gaze,
    )
