"""GNM Head v3 (Apache-2.0, Google) from the user's own `.npz`, fitted into the five joints of the FLAME family."""

from __future__ import annotations

import hashlib
from os import PathLike

import numpy as np
import torch

from spatialavatar.errors import UserError
from spatialavatar.head.arrays import checked_array, checked_indices, float_tensor, parts_by_piece, texture_space
from spatialavatar.head.head import Head, JointBases
from spatialavatar.head.unpickle import read_model_file
from spatialavatar.text import printable

KEYS = (
    "template_vertex_positions",
    "vertex_identity_basis",
    "expression_basis",
    "skinning_weights",
    "pose_correctives_regressor",
    "triangles",
    "template_joint_positions",
    "joint_identity_basis",
    "joint_parent_indices",
)
OPTIONAL_KEYS = ("expression_names", "version")
_JOINTS = 4
# Our joints as GNM's: its neck is the root of everything, its head turns on it, and it has no jaw.
_FROM_GNM = (0, 1, None, 2, 3)
_PARENTS = (-1, 0, 1, 1, 1)


def load_gnm(path: str | PathLike[str], uv: str | PathLike[str] | None = None) -> Head:
    """Read a GNM head.

    GNM's neck becomes the root joint and its head the neck joint. The jaw joint stays where the head joint is and
    moves nothing: GNM opens the mouth by expressions. Its pose correctives follow all four of its joints.

    Args:
        path: GNM's `.npz`.
        uv: Texture space, as for `load_flame`.

    Raises:
        UserError: The file is missing, damaged or no GNM head.
    """
    return head_of_arrays(read_model_file(path, {*KEYS, *OPTIONAL_KEYS}), path, uv)


def head_of_arrays(
    arrays: dict[str, np.ndarray], path: str | PathLike[str], uv: str | PathLike[str] | None = None
) -> Head:
    """A head of a GNM file's arrays; arguments and errors are those of `load_gnm`."""
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise UserError(
            f"expected a GNM head with the key {missing[0]!r}, found {', '.join(sorted(arrays)) or 'nothing'}.",
            where=path,
        )
    template = checked_array(arrays, "template_vertex_positions", path, (None, 3))
    count = len(template)
    identity = checked_array(arrays, "vertex_identity_basis", path, (None, count, 3))
    expression = checked_array(arrays, "expression_basis", path, (None, count, 3))
    weights = checked_array(arrays, "skinning_weights", path, (_JOINTS, count)).T
    joints = checked_array(arrays, "template_joint_positions", path, (_JOINTS, 3))
    joint_identity = checked_array(arrays, "joint_identity_basis", path, (len(identity), _JOINTS, 3))
    correctives = arrays["pose_correctives_regressor"]
    if correctives.size == _JOINTS * 9 * count * 3:
        arrays["pose_correctives_regressor"] = correctives.reshape(_JOINTS * 9, count, 3)
    correctives = checked_array(arrays, "pose_correctives_regressor", path, (_JOINTS * 9, count, 3))
    parents = checked_array(arrays, "joint_parent_indices", path, (_JOINTS,)).astype(np.int64)
    if parents[1:].tolist() != [0, 1, 1]:
        raise UserError(
            f"joint_parent_indices: expected the parents [0, 1, 1] of head and eyes, found {parents[1:].tolist()}.",
            where=path,
        )
    faces = checked_indices(arrays, "triangles", path, count)
    uv_coordinates, uv_faces = texture_space({}, path, uv, len(faces))

    def with_jaw(values: np.ndarray, axis: int, jaw: np.ndarray) -> np.ndarray:
        """GNM's values along the joints, with those of the jaw put in."""
        return np.stack([jaw if j is None else np.take(values, j, axis) for j in _FROM_GNM], axis)

    names = [str(name) for name in arrays.get("expression_names", np.array([])).reshape(-1)]
    if names and len(names) != len(expression):
        raise UserError(f"expression_names: expected {len(expression)} names, found {len(names)}.", where=path)
    version = printable(str(arrays["version"]), 20) if "version" in arrays else "head"
    by_joint = correctives.reshape(_JOINTS, 9, count, 3)
    joint_bases = JointBases(
        template=float_tensor(with_jaw(joints, 0, joints[1])),
        identity=float_tensor(with_jaw(joint_identity, 1, joint_identity[:, 1])),
        expression=torch.zeros(len(expression), len(_PARENTS), 3),
    )
    digest = hashlib.sha256()
    for key in KEYS:
        digest.update(np.ascontiguousarray(arrays[key].astype("<f4")).tobytes())
    return Head(
        name="GNM head",
        edition=f"gnm-{version}-{digest.hexdigest()[:12]}",
        template=float_tensor(template),
        identity_basis=float_tensor(identity),
        expression_basis=float_tensor(expression),
        expression_names=tuple(names or (f"expression_{k:03d}" for k in range(len(expression)))),
        pose_correctives=float_tensor(with_jaw(by_joint, 0, np.zeros_like(by_joint[0])).reshape(-1, count, 3)),
        joint_regressor=torch.zeros(len(_PARENTS), count),
        joint_parents=_PARENTS,
        skinning_weights=float_tensor(with_jaw(weights, 1, np.zeros(count))),
        faces=torch.from_numpy(faces),
        uv_coordinates=float_tensor(uv_coordinates),
        uv_faces=torch.from_numpy(uv_faces),
        part_of_face=torch.from_numpy(parts_by_piece(template, faces)),
        part_names=("skin", "left_eye", "right_eye"),
        joint_bases=joint_bases,
    )
