"""FLAME from the user's own file: 2017 to 2023, pickled or `.npz`. No FLAME data is part of this package."""

from __future__ import annotations

import hashlib
from os import PathLike

import numpy as np
import torch

from spatialavatar.errors import UserError
from spatialavatar.head.arrays import checked_array, checked_indices, float_tensor, parts_by_piece, texture_space
from spatialavatar.head.head import Head
from spatialavatar.head.teeth import add_teeth, mouth_rim
from spatialavatar.head.unpickle import read_model_file

NUM_SHAPES = 300
"""Columns of FLAME's `shapedirs` that are identity; the rest are expressions."""
_PARENTS = (-1, 0, 1, 1, 1)
_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")
KEYS = frozenset({*_KEYS, "vt", "ft"})
"""What is read of a file."""
# Editions are told apart by their mean head, whatever the file is called.
_EDITIONS = {"ec56c89562ee": "flame-2023-open"}
_HINT = "Give FLAME's generic_model.pkl or flame2023.pkl as it comes from flame.is.tue.mpg.de."


def load_flame(path: str | PathLike[str], uv: str | PathLike[str] | None = None, teeth: bool = True) -> Head:
    """Read a FLAME model.

    Args:
        path: FLAME's `.pkl` or an `.npz` with the same keys.
        uv: FLAME's texture space: an `.npz` with `vt` and `ft`, or an `.obj` of the template with texture
            coordinates. Without it the model file's own `vt` and `ft`, if it has them.
        teeth: Add 120 vertices and 168 triangles of teeth, which FLAME lacks (where the mesh has FLAME's open mouth).

    Returns:
        The head, with 300 identity components. Teeth have no UV, as in the paper.

    Raises:
        UserError: The file is missing, damaged, asks to run code, or is no FLAME model.
    """
    return head_of_arrays(read_model_file(path, KEYS), path, uv, teeth)


def head_of_arrays(
    arrays: dict[str, np.ndarray], path: str | PathLike[str], uv: str | PathLike[str] | None, teeth: bool = True
) -> Head:
    """A head of a FLAME file's arrays; arguments and errors are those of `load_flame`."""
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise UserError(
            f"expected a FLAME model with the key {missing[0]!r}, found {', '.join(sorted(arrays)) or 'nothing'}.",
            where=path,
            hint=_HINT,
        )
    template = checked_array(arrays, "v_template", path, (None, 3))
    count = len(template)
    faces = checked_indices(arrays, "f", path, count)
    directions = checked_array(arrays, "shapedirs", path, (count, 3, None))
    if directions.shape[2] <= NUM_SHAPES:
        raise UserError(
            f"shapedirs: expected {NUM_SHAPES} shapes followed by expressions, found {directions.shape[2]} columns.",
            where=path,
            hint=_HINT,
        )
    joints = len(_PARENTS)
    correctives = checked_array(arrays, "posedirs", path, (count, 3, (joints - 1) * 9))
    regressor = checked_array(arrays, "J_regressor", path, (joints, count))
    weights = checked_array(arrays, "weights", path, (count, joints))
    parents = checked_array(arrays, "kintree_table", path, (2, joints))[0].astype(np.int64).astype(np.int32)
    if tuple(parents[1:]) != _PARENTS[1:]:
        raise UserError(
            f"kintree_table: expected the parents {list(_PARENTS[1:])}, found {parents[1:].tolist()}.",
            where=path,
            hint=_HINT,
        )
    uv_coordinates, uv_faces = texture_space(arrays, path, uv, len(faces))
    skin_parts = parts_by_piece(template, faces)
    head = Head(
        name="FLAME",
        edition=_edition(arrays),
        template=float_tensor(template),
        identity_basis=float_tensor(np.moveaxis(directions[:, :, :NUM_SHAPES], 2, 0)),
        expression_basis=float_tensor(np.moveaxis(directions[:, :, NUM_SHAPES:], 2, 0)),
        expression_names=tuple(f"expression_{k:03d}" for k in range(directions.shape[2] - NUM_SHAPES)),
        pose_correctives=float_tensor(np.moveaxis(correctives, 2, 0)),
        joint_regressor=float_tensor(regressor),
        joint_parents=_PARENTS,
        skinning_weights=float_tensor(weights),
        faces=torch.from_numpy(faces),
        uv_coordinates=float_tensor(uv_coordinates),
        uv_faces=torch.from_numpy(uv_faces),
        part_of_face=torch.from_numpy(skin_parts),
        part_names=("skin", "left_eye", "right_eye"),
    )
    return add_teeth(head) if teeth and mouth_rim(head) is not None else head


def _edition(arrays: dict[str, np.ndarray]) -> str:
    """Year, where the mean head is known, and a hash of everything that moves vertices."""
    everything = hashlib.sha256()
    for key in _KEYS:
        kind = "<i8" if key in ("f", "kintree_table") else "<f4"
        everything.update(np.ascontiguousarray(arrays[key].astype(kind)).tobytes())
    mean = hashlib.sha256(np.ascontiguousarray(arrays["v_template"].astype("<f4")).tobytes()).hexdigest()[:12]
    return f"{_EDITIONS.get(mean, 'flame')}-{everything.hexdigest()[:12]}"
