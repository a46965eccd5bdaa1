"""What a mesh shows in a picture: its silhouette, which triangles are in sight, and which of them a camera filmed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.camera import Camera
from spatialavatar.synth.draw import project
from spatialavatar.synth.raster import Mesh, Target

LEAST_FACING = 0.25
"""Cosine between a triangle's normal and the way to the camera from which on it counts as filmed: flatter ones show a
quarter of themselves or less."""
LEAST_FRAMES = 3
"""Frames in which a triangle must be in sight; all there are where there are fewer."""
Mask = NDArray[np.bool_]


def triangles_in_sight(vertices: Tensor, head: Head, camera: Camera) -> NDArray[np.int32]:
    """(H, W) index of the mesh's triangle that each pixel shows, -1 for none. vertices (V, 3)."""
    target = Target(camera.width, camera.height)
    points = vertices.double().numpy()
    target.draw(Mesh(project(points, camera), head.faces.numpy().astype(np.int32)))
    return target.face


def filmed_triangles(sequence: TrackedSequence, head: Head, every: int = 4) -> NDArray[np.bool_]:
    """(F,) which triangles a camera filmed: in sight and not too flat in `LEAST_FRAMES` of every n-th frame."""
    frames = list(range(0, len(sequence), every))
    posed = head.pose(sequence.identity, sequence.motion[frames])
    counts = np.zeros(len(head.faces), np.int64)
    for vertices, frame in zip(posed, frames, strict=True):
        camera = sequence.camera(frame)
        in_sight = np.unique(triangles_in_sight(vertices, head, camera))
        in_sight = in_sight[in_sight >= 0]
        counts[in_sight[_facing(vertices, head, camera)[in_sight] >= LEAST_FACING]] += 1
    return counts >= min(LEAST_FRAMES, len(frames))


def _facing(vertices: Tensor, head: Head, camera: Camera) -> NDArray[np.float64]:
    """(F,) cosine between each triangle's normal and the way to the camera."""
    corners = vertices.double()[head.faces]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    towards = camera.position.double() - corners.mean(1)
    scale = (normal.norm(dim=1) * towards.norm(dim=1)).clamp_min(1e-18)
    return ((normal * towards).sum(1) / scale).numpy()


@dataclass(frozen=True)
class FaceTriangles:
    """Which triangles of a head are its face."""

    head: Head

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(F,) skin inside the landmarks' box in front of the ears, and eyes, teeth and tongue."""
        head = self.head
        embedding = load_landmarks(head)
        points = embedding.points(head.template, head.faces)[embedding.indices < 468]
        low, high = points.min(0).values, points.max(0).values
        inside = ((head.template >= low) & (head.template <= high)).all(1)
        skin = head.part_of_face == head.part_names.index("skin")
        return (inside[head.faces].all(1) | ~skin).numpy()


@dataclass(frozen=True)
class Regions:
    """(H, W) masks of one picture.

    face: Where the true mesh shows the face.
    above_chin: The rows above the chin.
    filmed, unfilmed: Where it shows surface that the filmed camera saw, and that it did not.
    other: The rest of the person: hair, clothes, glasses.
    background: Where the person is not.
    silhouette: Where it shows anything.
    """

    face: Mask
    above_chin: Mask
    filmed: Mask
    unfilmed: Mask
    other: Mask
    background: Mask
    silhouette: Mask


def regions_of(
    vertices: Tensor,
    head: Head,
    camera: Camera,
    filmed: NDArray[np.bool_],
    face: NDArray[np.bool_],
    chin_row: int,
    person: Mask,
) -> Regions:
    """The masks of one picture of the true mesh (V, 3).

    Args:
        filmed: (F,) from `filmed_triangles`.
        face: (F,) from `FaceTriangles`.
        chin_row: The row of the chin.
        person: (H, W) where the picture shows the person, by its matte.
    """
    shown = triangles_in_sight(vertices, head, camera)
    silhouette = shown >= 0
    seen = filmed[shown] & silhouette
    rows = np.arange(camera.height)[:, None] < chin_row
    return Regions(
        face=face[shown] & silhouette,
        above_chin=np.broadcast_to(rows, shown.shape),
        filmed=seen,
        unfilmed=silhouette & ~seen,
        other=~silhouette & person,
        background=~silhouette & ~person,
        silhouette=silhouette,
    )


def overlap(first: Mask, second: Mask) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else 1.0
