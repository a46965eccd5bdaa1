"""Five joints and their skinning weights, collapsed from MakeHuman's bones; how joints follow the shape."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.spatial import cKDTree

from tools.build_open_head.makehuman import MakeHuman

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
PARENTS = (-1, 0, 1, 1, 1)
# Decimetres on the base mesh. The neck turns about the seventh cervical vertebra, so that the shoulders stay; the jaw
# about the condyles, a centimetre in front of the ear's tragus.
ROOT_POSITION = (0.0, 5.1, 0.1)
NECK_POSITION = (0.0, 6.05, 0.12)
JAW_POSITION = (0.0, 7.02, 0.56)
# How much of the neck joint's rotation each bone of MakeHuman's neck takes on.
NECK_SHARE = {"neck01": 0.3, "neck02": 0.7, "neck03": 1.0, "head": 1.0}
SMOOTHING_STEPS = 12
# MakeHuman's chin and lower lip follow its jaw by 0.8 to 0.9 only, and the teeth would come through them.
JAW_GAIN = 1.2


def skin_weights(makehuman: MakeHuman, vertices: np.ndarray, edges: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Weights of root, neck and jaw for vertices of the skin and the sockets.

    Args:
        makehuman: The data.
        vertices: (N,) indices into the base mesh.
        edges: (E, 2) edges among them.
        mirror: (N,) mirrored vertex.

    Returns:
        (N, 5), rows sum to 1.
    """
    parents = makehuman.bone_parents()
    neck = np.zeros(len(vertices))
    jaw = np.zeros(len(vertices))
    for bone, values in makehuman.bone_weights().items():
        chain = [bone]
        while parents.get(chain[-1]):
            chain.append(parents[chain[-1]])
        share = next((NECK_SHARE[name] for name in chain if name in NECK_SHARE), 0.0)
        neck += share * values[vertices]
        if "jaw" in chain:
            jaw += values[vertices]
    count = len(vertices)
    adjacency = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    average = diags(1 / np.asarray(adjacency.sum(axis=1)).ravel()) @ adjacency
    for _ in range(SMOOTHING_STEPS):
        neck = 0.5 * neck + 0.5 * (average @ neck)
    neck, jaw = (0.5 * (values + values[mirror]) for values in (neck, jaw))
    jaw = np.minimum(np.minimum(JAW_GAIN * jaw, 1), neck)
    weights = np.zeros((count, 5))
    weights[:, ROOT], weights[:, NECK], weights[:, JAW] = 1 - neck, neck - jaw, jaw
    return weights


def regressor_row(target: np.ndarray, positions: np.ndarray, candidates: np.ndarray, nearest: int) -> np.ndarray:
    """Weights that give a joint as an affine combination of the vertices around it.

    The combination of least norm: as even as possible, exact on the template, and carried along exactly by every
    affine change of the vertices.

    Args:
        target: (3,) joint.
        positions: (V, 3) template.
        candidates: Indices of the vertices to use.
        nearest: How many of them.

    Returns:
        (V,) weights that sum to 1.
    """
    _, index = cKDTree(positions[candidates]).query(target, k=min(nearest, len(candidates)))
    chosen = np.sort(candidates[np.atleast_1d(index)])
    system = np.c_[positions[chosen] - target, np.ones(len(chosen))].T
    row = np.zeros(len(positions))
    row[chosen] = np.linalg.pinv(system) @ np.array([0.0, 0.0, 0.0, 1.0])
    return row
