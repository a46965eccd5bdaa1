"""The asset's file: safetensors, small numbers in half precision, sparse things stored sparsely."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

DECIMETRE = 0.1


def encode(
    template: np.ndarray,
    identity_basis: np.ndarray,
    expression_names: list[str],
    expression_basis: np.ndarray,
    joint_regressor: np.ndarray,
    joint_parents: tuple[int, ...],
    skinning_weights: np.ndarray,
    faces: np.ndarray,
    uv_coordinates: np.ndarray,
    uv_faces: np.ndarray,
    part_of_face: np.ndarray,
    part_names: list[str],
    mirror_vertices: np.ndarray,
) -> bytes:
    """Encode the head. All lengths are metres already; see `spatialavatar.head.open_head` for the reader."""
    moving = [np.flatnonzero(np.abs(basis).max(axis=1) > 0) for basis in expression_basis]
    joints, regressed = np.nonzero(joint_regressor)
    tensors = {
        "template": template.astype(np.float32),
        "identity_basis": identity_basis.astype(np.float16),
        "expression_counts": np.array([len(index) for index in moving], np.uint16),
        "expression_vertices": np.concatenate(moving).astype(np.uint16),
        "expression_displacements": np.concatenate(
            [basis[index] for basis, index in zip(expression_basis, moving, strict=True)]
        ).astype(np.float16),
        "joint_regressor_joints": joints.astype(np.uint8),
        "joint_regressor_vertices": regressed.astype(np.uint16),
        "joint_regressor_weights": joint_regressor[joints, regressed].astype(np.float32),
        # Rows sum to 1, so the root's column need not be stored.
        "skinning_weights": np.round(skinning_weights[:, 1:] * 65535).astype(np.uint16),
        "faces": faces.astype(np.uint16),
        "uv_coordinates": uv_coordinates.astype(np.float32),
        "uv_faces": uv_faces.astype(np.uint16),
        "part_of_face": part_of_face.astype(np.uint8),
        "mirror_vertices": mirror_vertices.astype(np.uint16),
    }
    header = {
        "format": "spatialavatar-open-head-1",
        "licence": "CC0-1.0",
        "expression_names": expression_names,
        "part_names": part_names,
        "joint_parents": list(joint_parents),
    }
    # Negative zeros compare equal but are other bytes. One entry of metadata only: their order in the file is random.
    return save(
        {name: np.ascontiguousarray(value + 0) for name, value in tensors.items()},
        metadata={"head": json.dumps(header)},
    )


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
