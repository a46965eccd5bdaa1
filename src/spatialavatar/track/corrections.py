"""What the photometric stage turns: corrections to a tracking, with the head and the body moving apart.

A motion couples the two: the head hangs on the neck, the neck on the body. Corrections are made in the world instead,
the head's about its own middle and the body's about its root, and turned back into a motion exactly; so a shoulder
that is moved leaves the face where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.rig import NECK, ROOT
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle


@dataclass(frozen=True)
class Anchor:
    """The tracking that is corrected, with body and head apart; T frames, or one without the leading T.

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

    def frame(self, index: int) -> Anchor:
        """One frame, its tensors still (1, ...)."""
        part = slice(index, index + 1)
        tensors = {name: getattr(self, name)[part] for name in ("body", "head", "root", "neck", "middle")}
        return replace(self, motion=self.motion[index], **tensors)


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
    joints = _joints(head, identity, motion.expression)
    body = rotation_matrix_from_axis_angle(motion.global_rotation)
    turned = body @ rotation_matrix_from_axis_angle(motion.neck_rotation)
    root = joints[:, ROOT] + motion.translation
    neck = root + _turned(body, joints[:, NECK] - joints[:, ROOT] + motion.neck_translation)
    # Between the eyes, a little into the head: turning about it moves the face least.
    eyes = joints[:, -2:].mean(1)
    return Anchor(motion, body, turned, root, neck, neck + _turned(turned, eyes - joints[:, NECK]), bounded)


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
    joints = _joints(head, identity, expression)
    body = rotation_matrix_from_axis_angle(corrections.body_turn) @ anchor.body
    turn = rotation_matrix_from_axis_angle(corrections.head_turn)
    neck = anchor.middle + _turned(turn, anchor.neck - anchor.middle) + corrections.head_shift
    root = anchor.root + corrections.body_shift
    # Posed, the neck joint lies at root + B (J_neck - J_root + neck_translation), and the head is turned by B N.
    offset = _turned(body.mT, neck - root) - (joints[:, NECK] - joints[:, ROOT])
    return Motion(
        expression=expression,
        global_rotation=axis_angle_from_rotation_matrix(body),
        neck_rotation=axis_angle_from_rotation_matrix(body.mT @ turn @ anchor.head),
        jaw_rotation=motion.jaw_rotation + corrections.jaw,
        eyes_rotation=motion.eyes_rotation + corrections.gaze,
        translation=root - joints[:, ROOT],
        neck_translation=offset,
    )


def _joints(head: Head, identity: Tensor, expression: Tensor) -> Tensor:
    """(T, J, 3) joints at rest, moved by expressions as the head's skinning has it."""
    rig = head.rig
    count = len(identity)
    shaped = rig.joint_template + (identity @ rig.joint_identity_basis[:count].flatten(1)).unflatten(-1, (-1, 3))
    return shaped + (expression @ rig.joint_expression_basis.flatten(1)).unflatten(-1, (-1, 3))


def _turned(rotation: Tensor, vectors: Tensor) -> Tensor:
    """(T, 3, 3) x (T, 3) -> (T, 3)."""
    return (rotation @ vectors[..., None])[..., 0]
