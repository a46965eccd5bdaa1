"""The head model: a mesh with identity and expression bases, five joints and a UV map."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from spatialavatar.head.motion import Motion
from spatialavatar.head.rig import PreparedIdentity, Rig

__all__ = ["Head", "PreparedIdentity"]


@dataclass(frozen=True)
class JointBases:
    """Where the joints are, for a head that says so itself instead of regressing them from its vertices."""

    template: Tensor
    """(J, 3)"""
    identity: Tensor
    """(I, J, 3)"""
    expression: Tensor
    """(E, J, 3)"""


@dataclass(frozen=True)
class Head:
    """A head of the FLAME family: parameters in, posed mesh out.

    Joints are root, neck, jaw, left eye, right eye, with the parents -1, 0, 1, 1, 1.
    Frame: x to the subject's left, y up, z out of the face. Metres.
    """

    name: str
    """What people call it, "open head" or "FLAME 2023"."""
    edition: str
    """Name and content hash. Avatars and motions carry it: expression bases of two editions do not mix."""
    template: Tensor
    """(V, 3) mean head."""
    identity_basis: Tensor
    """(I, V, 3) displacement of one standard deviation."""
    expression_basis: Tensor
    """(E, V, 3) displacement at coefficient 1."""
    expression_names: tuple[str, ...]
    """E names."""
    pose_correctives: Tensor | None
    """((J - 1) * 9, V, 3), or None where the head has none; J * 9 where they follow the root's rotation too."""
    joint_regressor: Tensor
    """(J, V) joints from the shaped vertices."""
    joint_parents: tuple[int, ...]
    """Parent of each joint, -1 for the root."""
    skinning_weights: Tensor
    """(V, J), rows sum to 1."""
    faces: Tensor
    """(F, 3) int64 vertex indices, counter-clockwise seen from outside."""
    uv_coordinates: Tensor
    """(T, 2) in [0, 1], origin at the top left, v downwards: image columns and rows."""
    uv_faces: Tensor
    """(F, 3) int64 into `uv_coordinates`; -1 where a face has no UV."""
    part_of_face: Tensor
    """(F,) int64 into `part_names`."""
    part_names: tuple[str, ...]
    """Names of the parts, such as "skin", "left_eye", "upper_teeth"."""
    mirror_vertices: Tensor | None = None
    """(V,) index of the vertex on the other side (itself on the midline), where the mesh is symmetric; or None."""
    joint_bases: JointBases | None = None
    """Used in place of `joint_regressor` where given."""

    @property
    def num_vertices(self) -> int:
        return self.template.shape[0]

    @property
    def num_faces(self) -> int:
        return self.faces.shape[0]

    @property
    def num_identities(self) -> int:
        return self.identity_basis.shape[0]

    @property
    def num_expressions(self) -> int:
        return self.expression_basis.shape[0]

    @property
    def num_joints(self) -> int:
        return len(self.joint_parents)

    @cached_property
    def rig(self) -> Rig:
        """The moving part, with the joint regressor multiplied into the bases."""
        regressor = self.joint_regressor
        joints = self.joint_bases or JointBases(
            template=regressor @ self.template,
            identity=regressor @ self.identity_basis,
            expression=regressor @ self.expression_basis,
        )
        return Rig(
            template=self.template,
            identity_basis=self.identity_basis,
            expression_basis=self.expression_basis,
            pose_correctives=self.pose_correctives,
            joint_template=joints.template,
            joint_identity_basis=joints.identity,
            joint_expression_basis=joints.expression,
            joint_parents=self.joint_parents,
            skinning_weights=self.skinning_weights,
        )

    def to(self, device: torch.device | str | torch.dtype) -> Head:
        """The same head on another device or in another floating-point type (indices keep theirs)."""
        head = _move_tensors(self, device)
        return head if self.joint_bases is None else replace(head, joint_bases=_move_tensors(self.joint_bases, device))

    def prepare_identity(self, identity: Tensor) -> PreparedIdentity:
        """Shape the template with (I',) coefficients, I' at most I; see `Rig.prepare_identity`."""
        return self.rig.prepare_identity(identity)

    def pose(self, identity: Tensor | PreparedIdentity, motion: Motion) -> Tensor:
        """(B, V, 3) posed vertices in metres, differentiable in identity and motion; see `Rig.pose`."""
        return self.rig.pose(identity, motion)

    def restrict(self, vertices: Tensor) -> Rig:
        """A rig that poses only the vertices (N,), with the joints of the whole head.

        It has `prepare_identity` and `pose` of its own and costs N / V of the whole head: landmarks need 1 in 10.
        """
        return self.rig.restrict(vertices)

    def part_faces(self, *names: str) -> Tensor:
        """(F,) bool: which faces belong to the parts of these names."""
        unknown = [name for name in names if name not in self.part_names]
        if unknown:
            raise ValueError(f"no part {unknown[0]!r}; this head has {', '.join(self.part_names)}")
        wanted = torch.tensor([self.part_names.index(name) for name in names], device=self.faces.device)
        return torch.isin(self.part_of_face, wanted)

    def neutral_motion(self, batch: int = 1) -> Motion:
        """`batch` frames at rest with this head's number of expressions."""
        return Motion.neutral(batch, self.num_expressions, device=self.template.device, dtype=self.template.dtype)


def _move_tensors(instance: Any, device: torch.device | str | torch.dtype) -> Any:
    """A dataclass with its tensors moved; a floating-point type is for the floating-point ones only."""
    tensors = {f.name: value for f in fields(instance) if isinstance(value := getattr(instance, f.name), Tensor)}
    if isinstance(device, torch.dtype):
        tensors = {name: value for name, value in tensors.items() if value.is_floating_point()}
    return replace(instance, **{name: value.to(device) for name, value in tensors.items()})
