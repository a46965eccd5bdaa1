"""The UV layout: one Gaussian per pixel of the unwrapped head, bound to the triangle the pixel falls in (§3.1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head

# Rounding may put a pixel centre on a shared edge outside both triangles by this much of a barycentric weight.
_EDGE_TOLERANCE = 1e-9
_BOX_PIXELS = 1 << 20
"""Pixels of triangles' boxes that are looked at together: about 200 MB."""
_MOST_TIMES_COVERED = 64
"""Boxes of a head's triangles hold the picture 2 to 4 times over."""


@dataclass(frozen=True)
class UVLayout:
    """The valid pixels of a UV image and where on the mesh each one lies. N pixels, sorted by triangle."""

    resolution: int
    """R: the UV image has R x R pixels."""
    rows: Tensor
    """(N,) int64"""
    columns: Tensor
    """(N,) int64"""
    triangles: Tensor
    """(N,) int64, ascending: the face of each pixel."""
    barycentric: Tensor
    """(N, 3) weights of the face's corners at the pixel's centre."""
    head_edition: str
    """The head it belongs to."""
    layout_id: str
    """Hash of head edition, resolution and pixels. Avatars and checkpoints carry it; two layouts do not mix."""

    def __len__(self) -> int:
        return self.triangles.shape[0]

    @property
    def num_pixels(self) -> int:
        return self.triangles.shape[0]

    @cached_property
    def mask(self) -> Tensor:
        """(R, R) bool: the valid pixels."""
        mask = torch.zeros(self.resolution, self.resolution, dtype=torch.bool, device=self.rows.device)
        mask[self.rows, self.columns] = True
        return mask

    def to(self, device: torch.device | str) -> UVLayout:
        """The same layout on another device."""
        return UVLayout(
            resolution=self.resolution,
            rows=self.rows.to(device),
            columns=self.columns.to(device),
            triangles=self.triangles.to(device),
            barycentric=self.barycentric.to(device),
            head_edition=self.head_edition,
            layout_id=self.layout_id,
        )

    def surface_points(self, vertices: Tensor, faces: Tensor) -> Tensor:
        """Where the pixels lie on a posed mesh.

        Args:
            vertices: (..., V, 3).
            faces: (F, 3).

        Returns:
            (..., N, 3), differentiable in `vertices`.
        """
        corners = vertices[..., faces[self.triangles], :]  # (..., N, 3, 3)
        return (corners * self.barycentric.to(vertices.dtype)[..., None]).sum(dim=-2)

    def to_grid(self, values: Tensor, fill: float = 0) -> Tensor:
        """(N, C) values of the pixels -> (R, R, C) image, `fill` where no pixel is valid."""
        grid = values.new_full((self.resolution, self.resolution, values.shape[1]), fill)
        grid[self.rows, self.columns] = values
        return grid

    def from_grid(self, grid: Tensor) -> Tensor:
        """(R, R, C) image -> (N, C) values of the pixels."""
        return grid[self.rows, self.columns]


def build_uv_layout(head: Head, resolution: int = 256) -> UVLayout:
    """Find the triangle under each pixel centre of the UV image.

    A pixel belongs to the triangle its centre lies in; on an edge shared by two, to the one with the lower index.
    Pixels between islands stay empty.

    Args:
        head: A head with UV coordinates.
        resolution: Pixels along a side.

    Raises:
        UserError: The head has no UV coordinates, or none that can be a texture space.
    """
    uv_faces = head.uv_faces.cpu().numpy()
    textured = np.flatnonzero((uv_faces >= 0).all(axis=1))
    if len(textured) == 0:
        raise UserError(
            "this head has no UV coordinates, so no Gaussians can be placed on it.",
            where=head.edition,
            hint="Give the file with FLAME's texture space as uv.",
        )
    corners = head.uv_coordinates.cpu().numpy().astype(np.float64)[uv_faces[textured]] * resolution  # (F, 3, 2)
    triangle, row, column, barycentric = _rasterise(corners, resolution, head.edition)
    first = np.lexsort((column, row, triangle))
    triangle, row, column, barycentric = textured[triangle[first]], row[first], column[first], barycentric[first]
    barycentric = np.clip(barycentric, 0, None)
    barycentric /= barycentric.sum(axis=1, keepdims=True)
    digest = hashlib.sha256(f"{head.edition} {resolution} ".encode())
    for array in (row, column, triangle):
        digest.update(array.astype("<i4").tobytes())
    return UVLayout(
        resolution=resolution,
        rows=torch.from_numpy(row),
        columns=torch.from_numpy(column),
        triangles=torch.from_numpy(triangle),
        barycentric=torch.from_numpy(barycentric.astype(np.float32)),
        head_edition=head.edition,
        layout_id=f"{resolution}-{digest.hexdigest()[:12]}",
    )


def uv_area(head: Head) -> float:
    """The area of the head's triangles in its UV image, which is 1 by 1; overlaps count each time."""
    uv_faces = head.uv_faces.cpu().numpy()
    uv = head.uv_coordinates.cpu().numpy().astype(np.float64).clip(0, 1)
    if len(uv) == 0:
        return 0.0
    a, b, c = uv[uv_faces[(uv_faces >= 0).all(axis=1)]].transpose(1, 0, 2)
    return float(np.abs(_cross(b - a, c - a)).sum() / 2)


def mirror_pixels(layout: UVLayout, head: Head) -> Tensor:
    """For each pixel the one whose point on the template is nearest to its mirror image.

    Points are matched within a part and its counterpart ("left_eye" with "right_eye"), so that a lip does not mirror
    to the gum behind it.

    Returns:
        (N,) int64 indices of pixels.
    """
    from scipy.spatial import cKDTree

    points = layout.surface_points(head.template, head.faces).double().cpu().numpy()
    part = head.part_of_face[layout.triangles].cpu().numpy()
    result = np.arange(len(layout))
    for index, name in enumerate(head.part_names):
        other_name = _other_side(name)
        other = head.part_names.index(other_name) if other_name in head.part_names else index
        mine, theirs = np.flatnonzero(part == index), np.flatnonzero(part == other)
        if len(mine) and len(theirs):
            _, nearest = cKDTree(points[theirs]).query(points[mine] * [-1.0, 1.0, 1.0])
            result[mine] = theirs[nearest]
    return torch.from_numpy(result)


def _other_side(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name[5:]
    if name.startswith("right_"):
        return "left_" + name[6:]
    return name


def _rasterise(
    corners: np.ndarray, resolution: int, edition: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The pixels whose centre lies in a triangle, each with the first triangle that holds it.

    Args:
        corners: (F, 3, 2) in pixels (x, y).
        resolution: Pixels along a side.
        edition: The head's, for messages.

    Returns:
        (M,) triangle, (M,) row, (M,) column and (M, 3) barycentric weights.

    Raises:
        UserError: The triangles lie over one another many times, as those of no texture space do.
    """
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5 - 1e-6), 0, resolution).astype(np.int64)  # (F, 2)
    high = np.clip(np.floor(corners.max(axis=1) - 0.5 + 1e-6), -1, resolution - 1).astype(np.int64)
    counts = np.maximum(high - low + 1, 0).prod(axis=1)
    if int(counts.sum()) > max(_MOST_TIMES_COVERED * resolution**2, _BOX_PIXELS):
        raise UserError(
            "the texture coordinates of this head lie over one another too many times.",
            where=edition,
            hint="Give the file with FLAME's own texture space as uv.",
        )
    taken = np.zeros(resolution**2, bool)
    found = []
    # Of the triangles that claim a pixel the first wins: groups of triangles come in ascending order.
    groups = np.searchsorted(np.cumsum(counts), np.arange(0, int(counts.sum()) + 1, _BOX_PIXELS), side="right")
    for begin, end in zip(groups, [*groups[1:], len(corners)], strict=True):
        triangle, row, column, weights = _pixels_inside(corners[begin:end], low[begin:end], high[begin:end])
        pixel = row * resolution + column
        _, first = np.unique(pixel, return_index=True)
        first = first[~taken[pixel[first]]]
        taken[pixel[first]] = True
        found.append((triangle[first] + begin, row[first], column[first], weights[first]))
    triangle, row, column, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return triangle, row, column, weights


def _pixels_inside(
    corners: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All (triangle, pixel) pairs whose pixel centre lies in the triangle, given each triangle's box of pixels."""
    width, height = np.maximum(high - low + 1, 0).T
    # One entry for each pixel of each triangle's bounding box.
    counts = width * height
    triangle = np.repeat(np.arange(len(corners)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    column = low[triangle, 0] + offset % width[triangle]
    row = low[triangle, 1] + offset // width[triangle]

    a, b, c = corners[triangle].transpose(1, 0, 2)
    point = np.stack([column + 0.5, row + 0.5], axis=-1)
    double_area = _cross(b - a, c - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.stack([_cross(b - point, c - point), _cross(c - point, a - point), _cross(a - point, b - point)])
        weights = (weights / double_area).T
    # A triangle without area holds no pixel; its weights are not numbers and compare false.
    inside = (weights >= -_EDGE_TOLERANCE).all(axis=1) & (np.abs(double_area) > 1e-12)
    return triangle[inside], row[inside], column[inside], weights[inside]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
