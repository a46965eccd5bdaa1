"""Small made-up models in the file formats of FLAME and GNM."""

from __future__ import annotations

import numpy as np

VERTICES = 42
EXPRESSIONS = 100


def flame_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """A head-sized cloud of vertices with every part of FLAME's format in use."""
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.full(5, 0.5), VERTICES)
    regressor = generator.dirichlet(np.full(VERTICES, 0.3), 5)
    faces = np.stack([generator.permutation(VERTICES)[:3] for _ in range(70)])
    return {
        "v_template": generator.uniform(-0.12, 0.12, (VERTICES, 3)),
        "f": faces.astype(np.uint32),
        "shapedirs": 0.003 * generator.standard_normal((VERTICES, 3, 300 + EXPRESSIONS)),
        "posedirs": 0.01 * generator.standard_normal((VERTICES, 3, 36)),
        "J_regressor": regressor,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "weights": weights,
    }


def gnm_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """The same for GNM Head v3: 253 identities, 383 expressions, neck, head and two eyes."""
    generator = np.random.default_rng(seed)
    arrays = {
        "version": np.array("3.0"),
        "variant": np.array("head"),
        "template_vertex_positions": generator.uniform(-0.12, 0.12, (VERTICES, 3)),
        "vertex_identity_basis": 0.003 * generator.standard_normal((253, VERTICES, 3)),
        "expression_basis": 0.003 * generator.standard_normal((383, VERTICES, 3)),
        "skinning_weights": generator.dirichlet(np.full(4, 0.5), VERTICES).T,
        "pose_correctives_regressor": 0.01 * generator.standard_normal((36, VERTICES * 3)),
        "triangles": np.stack([generator.permutation(VERTICES)[:3] for _ in range(70)]),
        "template_joint_positions": generator.uniform(-0.05, 0.05, (4, 3)),
        "joint_identity_basis": 0.002 * generator.standard_normal((253, 4, 3)),
        "joint_parent_indices": np.array([-1, 0, 1, 1]),
        "joint_names": np.array(["neck", "head", "left_eye", "right_eye"]),
        "identity_names": np.array([f"identity_{k}" for k in range(253)]),
        "expression_names": np.array([f"expression_{k}" for k in range(383)]),
    }
    return {key: array.astype(np.float32) if array.dtype == np.float64 else array for key, array in arrays.items()}


def write(path, arrays: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as stream:
        np.savez(stream, **arrays)
