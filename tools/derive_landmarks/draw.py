"""A small z-buffer in numpy: which triangle each pixel shows, and where on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatialavatar.head.uv import _rasterise


@dataclass(frozen=True)
class View:
    """A pinhole camera in front of the head, looking at its origin."""

    yaw: float
    """Radians; positive turns the head to its left."""
    pitch: float
    """Radians; positive turns the head down."""
    size: int = 640
    distance: float = 0.9
    focal: float = 2.6
    """In units of `size`."""

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 3) points of the head -> (..., 2) pixels (x right, y down) and (...) depth."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        nod = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        x, y, z = np.moveaxis(points @ (nod @ turn).T, -1, 0)
        depth = self.distance - z
        scale = self.focal * self.size / depth
        return np.stack([self.size / 2 + x * scale, self.size / 2 - y * scale], axis=-1), depth


@dataclass(frozen=True)
class Fragments:
    """What each pixel of a view shows."""

    face: np.ndarray
    """(H, W) visible face, -1 for the background."""
    barycentric: np.ndarray
    """(H, W, 3) weights of its corners on the surface."""
    cosine: np.ndarray
    """(F,) how squarely each face looks at the camera, negative from behind."""


def rasterise(vertices: np.ndarray, faces: np.ndarray, view: View) -> Fragments:
    """The visible surface of a mesh."""
    pixels, depth = view.project(vertices)
    face, row, column, weights = _rasterise(pixels[faces], view.size)
    corner_depth = depth[faces[face]]
    # Straight lines in space are straight in 1 / depth.
    weights = weights / corner_depth
    inverse_depth = weights.sum(axis=1)
    weights = weights / inverse_depth[:, None]
    pixel = row * view.size + column
    order = np.lexsort((-inverse_depth, pixel))
    first = order[np.unique(pixel[order], return_index=True)[1]]
    shown = np.full(view.size**2, -1)
    shown[pixel[first]] = face[first]
    barycentric = np.zeros((view.size**2, 3))
    barycentric[pixel[first]] = weights[first]

    corners = np.concatenate([pixels, depth[:, None]], axis=1)[faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    signed = a[:, 1] * b[:, 0] - a[:, 0] * b[:, 1]
    space = np.linalg.norm(_normals(vertices, faces), axis=1)
    scale = (view.focal * view.size / corners[:, :, 2].mean(axis=1)) ** 2
    cosine = signed / np.maximum(space * scale, 1e-12)
    shape = (view.size, view.size)
    return Fragments(shown.reshape(shape), barycentric.reshape(*shape, 3), cosine)


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F, 3) normals, as long as twice the face's area."""
    first, second, third = (vertices[faces[:, k]] for k in range(3))
    return np.cross(second - first, third - first)


def shade(
    vertices: np.ndarray, faces: np.ndarray, fragments: Fragments, albedo: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """(H, W, 3) uint8 picture of painted pixels under one light and a bright sky.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        fragments: From `rasterise`.
        albedo: (H, W, 3) colour of each pixel in [0, 1], linear.
        light: (3,) direction to the light, in the head's frame.
    """
    normals = np.zeros_like(vertices)
    flat = _normals(vertices, faces)
    for k in range(3):
        np.add.at(normals, faces[:, k], flat)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    shown = fragments.face >= 0
    corners = faces[fragments.face[shown]]
    normal = (normals[corners] * fragments.barycentric[shown][..., None]).sum(axis=1)
    lit = np.clip(normal @ (light / np.linalg.norm(light)), 0, 1) * 0.75 + 0.25 * (0.6 + 0.4 * normal[:, 1])
    image = np.full((*fragments.face.shape, 3), 0.45)
    image[shown] = albedo[shown] * lit[:, None] * 1.15
    return (np.clip(image, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
