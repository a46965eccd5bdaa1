"""Linear blend skinning the slow way: numpy, float64, loops over joints, straight from FLAME's paper."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def pose(template, directions, coefficients, correctives, regressor, parents, weights, rotations, translation):
    """Vertices of one frame.

    Args:
        template: (V, 3).
        directions: (K, V, 3) identity and expression together.
        coefficients: (K,).
        correctives: ((J - 1) * 9, V, 3) or None.
        regressor: (J, V).
        parents: (J,).
        weights: (V, J).
        rotations: (J, 3) axis-angle.
        translation: (3,).
    """
    shaped = template + np.tensordot(coefficients, directions, 1)
    joints = regressor @ shaped
    matrices = [Rotation.from_rotvec(rotation).as_matrix() for rotation in rotations]
    if correctives is not None:
        features = np.concatenate([(matrix - np.eye(3)).ravel() for matrix in matrices[1:]])
        shaped = shaped + np.tensordot(features, correctives, 1)
    world = []
    for joint, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = matrices[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ local if parent >= 0 else local)
    posed = np.zeros_like(shaped)
    for joint, matrix in enumerate(world):
        at_rest = np.eye(4)
        at_rest[:3, 3] = -joints[joint]
        moved = (matrix @ at_rest @ np.c_[shaped, np.ones(len(shaped))].T).T[:, :3]
        posed += weights[:, joint : joint + 1] * moved
    return posed + translation
