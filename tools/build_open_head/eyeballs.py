"""Finer eyeballs than MakeHuman's: 16 meridians, a ring at the iris's edge and a vertex at the pupil.

MakeHuman's eyeball is a sphere of 72 vertices, which its targets shift, scale and shear. Each target is carried over
by the shift, the even scaling and the nod that fit it best: eyeballs stay spheres, turn in their sockets without a
bump, and look where their lids do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.build_open_head.makehuman import BaseMesh

MERIDIANS = 16
# Polar angles of the rings, degrees from the pupil. An iris is 11.8 mm wide: 23.2 degrees on this sphere of 15 mm.
RINGS = (8.0, 16.0, 23.2, 34.0, 48.0, 65.0, 84.0, 110.0, 145.0)
IRIS_RING = 2
NUM_VERTICES = MERIDIANS * len(RINGS) + 2


@dataclass(frozen=True)
class Eyeball:
    """One eyeball. Vertices: front pole, the rings from the front, back pole."""

    positions: np.ndarray
    """(N, 3) decimetres."""
    faces: np.ndarray
    """(F, 3) counter-clockwise from outside."""
    source: np.ndarray
    """(72,) indices into the base mesh."""
    centre: np.ndarray
    """(3,)"""
    fit: np.ndarray
    """(4, 72) maps displacements of MakeHuman's eyeball to their best linear map about the centre and shift."""

    def carry(self, displacement: np.ndarray) -> np.ndarray:
        """(72, 3) displacements of MakeHuman's eyeball -> (N, 3) of this one."""
        solution = self.fit @ displacement
        offset = self.positions - self.centre
        scale = np.trace(solution[:3]) / 3
        # A small turn about x, which faces that tilt forwards need; toeing in or out would only be noise.
        nod = 0.5 * (solution[1, 2] - solution[2, 1])
        turned = nod * np.stack([np.zeros(len(offset)), -offset[:, 2], offset[:, 1]], axis=-1)
        return solution[3] + scale * offset + turned


def make_eyeball(mesh: BaseMesh, group: str, mirrored: bool) -> Eyeball:
    """Build an eyeball in place of a group of the base mesh; the right eye is the mirror image of the left."""
    source = mesh.vertices_of(group)
    points = mesh.vertices[source]
    # |p|^2 = 2 p.c + (r^2 - |c|^2): linear in centre and the rest.
    solution = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(axis=1), rcond=None)[0]
    centre = solution[:3]
    radius = np.sqrt(solution[3] + centre @ centre)
    positions = centre + radius * _unit_sphere(mirrored)
    fit = np.linalg.pinv(np.c_[points - centre, np.ones(len(points))])
    faces = _sphere_faces()
    return Eyeball(positions, faces[:, ::-1] if mirrored else faces, source, centre, fit)


def _unit_sphere(mirrored: bool) -> np.ndarray:
    rings = []
    for polar in np.radians(RINGS):
        azimuth = 2 * np.pi * np.arange(MERIDIANS) / MERIDIANS
        x = np.sin(polar) * np.cos(azimuth)
        rings.append(np.stack([x, np.sin(polar) * np.sin(azimuth), np.full(MERIDIANS, np.cos(polar))], axis=-1))
    sphere = np.concatenate([[[0.0, 0.0, 1.0]], *rings, [[0.0, 0.0, -1.0]]])
    return sphere * [-1, 1, 1] if mirrored else sphere


def _sphere_faces() -> np.ndarray:
    faces = []
    last = NUM_VERTICES - 1
    for k in range(MERIDIANS):
        after = (k + 1) % MERIDIANS
        faces.append([0, 1 + k, 1 + after])
        for ring in range(len(RINGS) - 1):
            near, far = 1 + ring * MERIDIANS, 1 + (ring + 1) * MERIDIANS
            faces.append([near + k, far + k, far + after])
            faces.append([near + k, far + after, near + after])
        back = 1 + (len(RINGS) - 1) * MERIDIANS
        faces.append([back + k, last, back + after])
    return np.array(faces)
