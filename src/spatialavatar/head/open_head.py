"""The built-in open head: MakeHuman's CC0 data, cut and rigged like FLAME. See `docs/open_head.md`."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib.resources import files as package_files
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head

_FORMAT = "spatialavatar-open-head-1"


@lru_cache(maxsize=1)
def load_open_head() -> Head:
    """The open head, on the CPU. Loaded once: callers share it, and its tensors must not be changed in place.

    5,302 vertices, 10,440 triangles, 80 identity components, the 52 expressions of ARKit by their names, no pose
    correctives.

    Raises:
        UserError: The package's asset is damaged.
    """
    path = package_files("spatialavatar.head") / "assets" / "open_head.safetensors"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("head", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except Exception as error:
        raise UserError(
            f"the built-in head cannot be read ({error}).", where=str(path), hint="Install spatialavatar again."
        ) from None
    if header.get("format") != _FORMAT:
        raise UserError(
            f"expected the format {_FORMAT}, found {header.get('format')}.",
            where=str(path),
            hint="Install spatialavatar again.",
        )
    return _decode(tensors, header, edition=f"open-head-1-{digest[:12]}")


def _decode(tensors: dict[str, Tensor], header: dict[str, Any], edition: str) -> Head:
    template = tensors["template"]
    count = template.shape[0]
    names = tuple(header["expression_names"])
    parents = tuple(header["joint_parents"])

    # Expressions are stored as the vertices they move and where to.
    expression_of_entry = torch.repeat_interleave(torch.arange(len(names)), _integers(tensors["expression_counts"]))
    expression_basis = torch.zeros(len(names), count, 3)
    moved = _integers(tensors["expression_vertices"])
    expression_basis[expression_of_entry, moved] = tensors["expression_displacements"].float()

    joint_regressor = torch.zeros(len(parents), count)
    joints, vertices = _integers(tensors["joint_regressor_joints"]), _integers(tensors["joint_regressor_vertices"])
    joint_regressor[joints, vertices] = tensors["joint_regressor_weights"]

    others = _integers(tensors["skinning_weights"]).float() / 65535
    return Head(
        name="open head",
        edition=edition,
        template=template,
        identity_basis=tensors["identity_basis"].float(),
        expression_basis=expression_basis,
        expression_names=names,
        pose_correctives=None,
        joint_regressor=joint_regressor,
        joint_parents=parents,
        skinning_weights=torch.cat([1 - others.sum(dim=1, keepdim=True), others], dim=1),
        faces=_integers(tensors["faces"]),
        uv_coordinates=tensors["uv_coordinates"],
        uv_faces=_integers(tensors["uv_faces"]),
        part_of_face=_integers(tensors["part_of_face"]),
        part_names=tuple(header["part_names"]),
        mirror_vertices=_integers(tensors["mirror_vertices"]),
    )


def _integers(values: Tensor) -> Tensor:
    """Stored small, indexed with as int64."""
    return values.to(torch.int64)
