"""A mesh in, what each sample of an image shows out. The renderer of made-up people; it knows nothing of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatialavatar import _native

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """Triangles with numbers at their corners.

    points: (V, 3) float32 x, y in samples and nearness (see `Target.draw`).
    faces: (F, 3) int32.
    """

    points: Floats
    faces: Integers


@dataclass(frozen=True)
class Shown:
    """The M samples that show one mesh.

    samples: (M,) int64 index into the image's rows laid end to end.
    face: (M,) int32 triangle of the mesh.
    barycentric: (M, 2) float32 weights of its second and third corner, on the surface in space.
    nearness: (M,) float32.
    """

    samples: NDArray[np.int64]
    face: Integers
    barycentric: Floats
    nearness: Floats

    def interpolate(self, faces: Integers, attributes: Floats) -> Floats:
        """(M, C) numbers (V, C) of a mesh's vertices at the samples. `faces` may index other vertices (UV corners)."""
        result = np.empty((len(self.samples), attributes.shape[1]), np.float32)
        _native.mesh_interpolate(self.face, self.barycentric, faces, np.ascontiguousarray(attributes), result)
        return result


class Target:
    """An image of samples into which meshes are drawn one after the other."""

    def __init__(self, width: int, height: int, *, perspective: bool = True) -> None:
        """With `perspective`, nearness is 1 / depth, and surfaces behind the camera are left out; without, it is any
        linear function of depth that grows towards the eye."""
        self.perspective = perspective
        self.nearness = np.full((height, width), 0.0 if perspective else -np.inf, np.float32)
        self.face = np.full((height, width), -1, np.int32)
        self.barycentric = np.zeros((height, width, 2), np.float32)
        self._first_faces = [0]

    def draw(self, mesh: Mesh) -> None:
        """Draw one mesh, both sides of its triangles."""
        first = self._first_faces[-1]
        points = np.ascontiguousarray(mesh.points, np.float32)
        _native.mesh_draw(points, mesh.faces, self.nearness, self.face, self.barycentric, first, self.perspective)
        self._first_faces.append(first + len(mesh.faces))

    def shown(self, mesh: int) -> Shown:
        """What is to be seen of the mesh that was drawn as number `mesh`."""
        first, last = self._first_faces[mesh], self._first_faces[mesh + 1]
        face = self.face.reshape(-1)
        samples = np.flatnonzero((face >= first) & (face < last))
        return Shown(
            samples=samples,
            face=face[samples] - np.int32(first),
            barycentric=self.barycentric.reshape(-1, 2)[samples],
            nearness=self.nearness.reshape(-1)[samples],
        )


def sample_texture(texture: Floats, places: Floats) -> Floats:
    """(M, C) texture (H, W, C) at places (M, 2) in [0, 1], origin at the left upper corner; bilinear."""
    result = np.empty((len(places), texture.shape[2]), np.float32)
    _native.mesh_sample(texture, np.ascontiguousarray(places), result)
    return result


def vertex_normals(points: Floats, faces: Integers) -> Floats:
    """(V, 3) unit normals, weighted by area, of the counter-clockwise side. points (V, 3)."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a).astype(np.float64)
    normals = np.empty((len(points), 3))
    for axis in range(3):
        normals[:, axis] = sum(np.bincount(faces[:, k], flat[:, axis], len(points)) for k in range(3))
    return (normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-20)).astype(np.float32)
