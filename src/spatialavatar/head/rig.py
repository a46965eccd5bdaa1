"""Linear blend skinning of the FLAME family: shape and expression in, joints turned, vertices out.

Written from the papers: M. Loper et al., "SMPL: A Skinned Multi-Person Linear Model" (2015), Eqs. 2 to 11, and T. Li
et al., "Learning a model of facial shape and expression from 4D scans" (FLAME, 2017), Section 3.

Everything that does not depend on the frame is computed once. The joints are linear in the shaped template and this
in the coefficients, so the regressor is multiplied into the bases: no frame ever sees the full regressor, and any
subset of the vertices can be posed by itself with the same joints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")


@dataclass(frozen=True)
class PreparedIdentity:
    """One person's head at rest: what the identity coefficients give, computed once and posed many times."""

    shaped_template: Tensor
    """(V, 3) vertices in metres."""
    joints: Tensor
    """(J, 3) joint positions in metres, before expressions move them."""


@dataclass(frozen=True)
class Rig:
    """The moving part of a head, for all of its vertices or some of them."""

    template: Tensor
    """(V, 3) mean head, metres."""
    identity_basis: Tensor
    """(I, V, 3) displacement of one standard deviation."""
    expression_basis: Tensor
    """(E, V, 3) displacement at coefficient 1."""
    pose_correctives: Tensor | None
    """((J - 1) * 9, V, 3) displacement per entry of (rotation - identity), joints 1 to J - 1, row by row; with
    J * 9 rows from joint 0 on; or None."""
    joint_template: Tensor
    """(J, 3) joints of the mean head."""
    joint_identity_basis: Tensor
    """(I, J, 3) what an identity coefficient does to the joints."""
    joint_expression_basis: Tensor
    """(E, J, 3) what an expression coefficient does to the joints (FLAME regresses them after the expression)."""
    joint_parents: tuple[int, ...]
    """Parent of each joint; -1 for the root, and every parent comes before its children."""
    skinning_weights: Tensor
    """(V, J), rows sum to 1."""

    def to(self, device: torch.device | str | torch.dtype) -> Rig:
        """The same rig on another device or in another floating-point type."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items()}
        return replace(self, **moved)

    def restrict(self, vertices: Tensor) -> Rig:
        """The same rig for some vertices (N,) only; its joints are still those of the whole head."""
        return replace(
            self,
            template=self.template[vertices],
            identity_basis=self.identity_basis[:, vertices],
            expression_basis=self.expression_basis[:, vertices],
            pose_correctives=None if self.pose_correctives is None else self.pose_correctives[:, vertices],
            skinning_weights=self.skinning_weights[vertices],
        )

    def prepare_identity(self, identity: Tensor) -> PreparedIdentity:
        """Shape the template.

        Args:
            identity: (I',) coefficients in standard deviations, I' at most I; the rest are zero.

        Returns:
            The shaped template and its joints, differentiable in `identity`.
        """
        count = identity.shape[0]
        if identity.ndim != 1 or count > self.identity_basis.shape[0]:
            raise ValueError(
                f"identity must have the shape (I,) with I <= {self.identity_basis.shape[0]}, "
                f"not {tuple(identity.shape)}"
            )
        return PreparedIdentity(
            shaped_template=self.template + combine(identity[None], self.identity_basis[:count])[0],
            joints=self.joint_template + combine(identity[None], self.joint_identity_basis[:count])[0],
        )

    def pose(self, identity: Tensor | PreparedIdentity, motion: Motion) -> Tensor:
        """Pose the head.

        Args:
            identity: (I',) coefficients, or what `prepare_identity` made of them.
            motion: B frames.

        Returns:
            (B, V, 3) vertices in metres, differentiable in identity and motion.
        """
        if isinstance(identity, Tensor):
            identity = self.prepare_identity(identity)
        if motion.expression.shape[1] != self.expression_basis.shape[0]:
            raise ValueError(
                f"this motion has {motion.expression.shape[1]} expressions, "
                f"this head has {self.expression_basis.shape[0]}"
            )
        rotations = joint_rotations(motion)  # (B, J, 3, 3)
        vertices = identity.shaped_template + combine(motion.expression, self.expression_basis)  # (B, V, 3)
        joints = identity.joints + combine(motion.expression, self.joint_expression_basis)  # (B, J, 3)
        if self.pose_correctives is not None:
            eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            # FLAME's correctives follow all joints but the root, some heads' all of them.
            first = len(self.joint_parents) - self.pose_correctives.shape[0] // 9
            vertices = vertices + combine((rotations[:, first:] - eye).flatten(1), self.pose_correctives)
        transforms = joint_transforms(rotations, joints, motion, self.joint_parents)  # (B, J, 3, 4)
        return skin(vertices, transforms, self.skinning_weights)


def joint_rotations(motion: Motion) -> Tensor:
    """(B, 5, 3, 3) rotation of each joint against its parent, in the order of `JOINT_NAMES`."""
    axis_angles = [motion.global_rotation, motion.neck_rotation, motion.jaw_rotation, motion.eyes_rotation]
    return rotation_matrix_from_axis_angle(torch.cat(axis_angles, dim=-1).unflatten(-1, (5, 3)))


def joint_transforms(rotations: Tensor, joints: Tensor, motion: Motion, parents: tuple[int, ...]) -> Tensor:
    """Carry the rotations down the kinematic chain.

    Args:
        rotations: (B, J, 3, 3) of each joint against its parent.
        joints: (B, J, 3) positions at rest.
        motion: Gives the translation of everything and of the neck joint.
        parents: Parent of each joint, -1 for the root.

    Returns:
        (B, J, 3, 4) map from rest to posed positions: the rest position of each joint is already taken out.
    """
    world_rotations: list[Tensor] = []
    world_positions: list[Tensor] = []
    for joint, parent in enumerate(parents):
        if parent < 0:
            # The root turns in place: FLAME rotates about the root joint, not about the origin.
            world_rotations.append(rotations[:, joint])
            world_positions.append(joints[:, joint] + motion.translation)
        else:
            offset = joints[:, joint] - joints[:, parent]
            if joint == NECK:
                offset = offset + motion.neck_translation
            world_rotations.append(world_rotations[parent] @ rotations[:, joint])
            world_positions.append(world_positions[parent] + _rotate(world_rotations[parent], offset))
    stacked = torch.stack(world_rotations, dim=1)
    shifts = torch.stack(world_positions, dim=1) - _rotate(stacked, joints)
    return torch.cat([stacked, shifts[..., None]], dim=-1)


def skin(vertices: Tensor, transforms: Tensor, weights: Tensor) -> Tensor:
    """Blend the joints' transforms at each vertex and apply them.

    Args:
        vertices: (B, V, 3) at rest.
        transforms: (B, J, 3, 4).
        weights: (V, J).

    Returns:
        (B, V, 3) posed vertices.
    """
    blended = weights @ transforms.flatten(2)  # (B, V, 12)
    x, y, z = vertices.unbind(-1)
    rows = blended.unflatten(-1, (3, 4))
    return rows[..., 0] * x[..., None] + rows[..., 1] * y[..., None] + rows[..., 2] * z[..., None] + rows[..., 3]


def combine(coefficients: Tensor, basis: Tensor) -> Tensor:
    """(B, K) x (K, N, 3) -> (B, N, 3) as one matrix product."""
    return (coefficients @ basis.flatten(1)).unflatten(-1, basis.shape[1:])


def _rotate(rotations: Tensor, vectors: Tensor) -> Tensor:
    """(..., 3, 3) x (..., 3) -> (..., 3)."""
    return (rotations @ vectors[..., None])[..., 0]
