"""The head's surface as the UV layout sees it: each pixel's footprint, its neighbours, and smooth fills over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spatialavatar.avatar.binding import TriangleFrames, triangle_frames
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.uv import UVLayout


@dataclass(frozen=True)
class Footprint:
    """The ellipse that one UV pixel covers in the plane of its triangle, in units of the triangle's scale.

    scales: (N, 2) half axes, the longer first (half the pixel's extent along each).
    angles: (N,) rotation about the triangle's normal (local y) that takes local x onto the longer axis, radians.
    size: (N,) geometric mean of the pixel's two extents: "the pixel's footprint" of every bound in this project.
    """

    scales: Tensor
    angles: Tensor
    size: Tensor


def face_band(head: Head, layout: UVLayout) -> tuple[Tensor, Tensor]:
    """(N,) and (N,) in [0, 1]: skin between the chin and the highest landmark, and what of it lies above the mouth.

    That is where a picture's own colours are skin or hair, and not clothes.
    """
    landmarks = load_landmarks(head).points(head.template, head.faces)[:, 1]
    chin, top = float(landmarks.min()), float(landmarks.max())
    heights = layout.surface_points(head.template, head.faces)[:, 1]
    is_skin = head.part_of_face[layout.triangles] == head.part_names.index("skin")
    band = is_skin * _rise(heights, chin - 0.01, chin + 0.005) * (1 - _rise(heights, top, top + 0.01))
    return band, band * _rise(heights, chin + 0.35 * (top - chin), chin + 0.45 * (top - chin))


def _rise(values: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on, straight between."""
    return ((values - low) / (high - low)).clamp(0, 1)


def pixel_footprints(head: Head, layout: UVLayout, vertices: Tensor) -> Footprint:
    """How large each UV pixel is in its own triangle.

    Args:
        head: Gives the UV coordinates.
        layout: Which pixel lies in which triangle.
        vertices: (V, 3) mesh on which sizes are measured, usually the subject's neutral one.

    The map from UV pixels to the triangle's plane is affine; the singular values of its 2 x 2 matrix are the extents.
    """
    frames = triangle_frames(vertices, head.faces)
    faces = head.faces[layout.triangles]
    corners = vertices[faces]  # (N, 3, 3)
    rotations, scales = frames.rotations[layout.triangles], frames.scales[layout.triangles]
    edges = torch.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], -1)  # (N, 3, 2)
    in_plane = (rotations.transpose(1, 2) @ edges)[:, [0, 2]] / scales[:, None, None]  # (N, 2, 2): x, z rows
    uv = head.uv_coordinates[head.uv_faces[layout.triangles]] * layout.resolution
    uv_edges = torch.stack([uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]], -1)
    determinant = uv_edges[:, 0, 0] * uv_edges[:, 1, 1] - uv_edges[:, 0, 1] * uv_edges[:, 1, 0]
    safe = torch.where(determinant.abs() < 1e-8, torch.full_like(determinant, 1e-8), determinant)
    adjugate = torch.stack(
        [
            torch.stack([uv_edges[:, 1, 1], -uv_edges[:, 0, 1]], -1),
            torch.stack([-uv_edges[:, 1, 0], uv_edges[:, 0, 0]], -1),
        ],
        -2,
    )
    jacobian = in_plane @ (adjugate / safe[:, None, None])  # local units per pixel
    covariance = jacobian @ jacobian.transpose(1, 2)
    values, vectors = torch.linalg.eigh(covariance)  # ascending
    extents = values.clamp_min(1e-10).sqrt().flip(-1)  # (N, 2), longer first
    longer = vectors[:, :, 1]  # (x, z) of the longer axis
    # A rotation by t about local y takes x to (cos t, 0, -sin t).
    return Footprint(
        scales=0.5 * extents, angles=torch.atan2(-longer[:, 1], longer[:, 0]), size=extents.prod(-1).sqrt()
    )


def local_points(layout: UVLayout, vertices: Tensor, faces: Tensor, frames: TriangleFrames | None = None) -> Tensor:
    """Where each UV pixel's surface point lies in its own triangle's frame, (N, 3); the normal coordinate is zero."""
    frames = triangle_frames(vertices, faces) if frames is None else frames
    points = layout.surface_points(vertices, faces)
    offset = points - frames.centers[layout.triangles]
    rotated = (frames.rotations[layout.triangles].transpose(1, 2) @ offset[..., None])[..., 0]
    return rotated / frames.scales[layout.triangles][:, None]


@dataclass(frozen=True)
class SurfaceGraph:
    """Undirected neighbourhood of UV pixels on the surface, across UV seams, never across parts.

    rows, columns: (M,) indices of neighbouring pairs, both directions.
    degree: (N,) number of neighbours.
    """

    rows: np.ndarray
    columns: np.ndarray
    degree: np.ndarray


def surface_graph(head: Head, layout: UVLayout, vertices: Tensor, neighbours: int = 6) -> SurfaceGraph:
    """Nearest neighbours in space, taken among pixels of the same part (skin, an eyeball, a row of teeth, ...).

    Space instead of the UV grid, because seams cut the grid at the back of the head and around the mouth.
    """
    from scipy.spatial import cKDTree

    points = layout.surface_points(vertices, head.faces).double().cpu().numpy()
    parts = head.part_of_face[layout.triangles].cpu().numpy()
    pairs = []
    for part in np.unique(parts):
        members = np.flatnonzero(parts == part)
        count = min(neighbours + 1, len(members))
        if count < 2:
            continue
        _, nearest = cKDTree(points[members]).query(points[members], k=count)
        left = np.repeat(members, count - 1)
        right = members[nearest[:, 1:].reshape(-1)]
        pairs.append(np.stack([left, right]))
    directed = np.concatenate(pairs, 1)
    both = np.concatenate([directed, directed[::-1]], 1)
    # Ten times as fast as np.unique, which goes through a hash table.
    ordered = np.sort(both[0].astype(np.int64) * len(points) + both[1])
    unique = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    rows, columns = unique // len(points), unique % len(points)
    return SurfaceGraph(rows, columns, np.bincount(rows, minlength=len(points)).astype(np.float64))


def smooth_fill(values: Tensor, confidence: Tensor, graph: SurfaceGraph, stiffness: float) -> Tensor:
    """Values that agree with `values` where confidence is high and follow their neighbours where it is not.

    Solves (C + stiffness L) x = C values, with C the diagonal of confidences and L the graph's Laplacian: at
    confidence 0 this is the harmonic extension of what surrounds it; islands without any confidence keep `values`.

    Args:
        values: (N, K).
        confidence: (N,) in [0, 1].
        graph: Neighbours.
        stiffness: How strongly neighbours pull, against a confidence of 1.

    Returns:
        (N, K), the dtype and device of `values`.
    """
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import splu

    count = len(values)
    adjacency = coo_matrix((np.ones(len(graph.rows)), (graph.rows, graph.columns)), shape=(count, count))
    # The floor keeps islands without confidence solvable; against a Laplacian of order 1 it moves nothing else.
    weights = confidence.double().cpu().numpy() + 1e-6
    system = diags(weights) + stiffness * (diags(graph.degree) - adjacency)
    solution = splu(system.tocsc()).solve(weights[:, None] * values.detach().double().cpu().numpy())
    return torch.from_numpy(np.ascontiguousarray(solution)).to(values)
