"""Outlines of mattes and of the projected mesh, and what can be compared between them.

Two comparisons are used. *Extents*: how far a shape reaches in each of some directions. They need no drawing, and the
mesh's is the largest projection of a vertex on the direction (the support function of its convex hull), which can be
differentiated as it is. *Contours*: points on the edge, which also see where a shape is hollow, below an ear.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.track.skin import rims_are_skin

# Angles from the image's upwards direction, clockwise: all round the skull down to the ears, none to the shoulders.
_ANGLES = np.radians(np.linspace(-100, 100, 41))
DIRECTIONS: NDArray[np.float32] = np.stack([np.sin(_ANGLES), -np.cos(_ANGLES)], 1).astype(np.float32)
"""(D, 2) unit vectors, x right, y down."""

NOSE_BASE, FOREHEAD, CHIN, UPPER_LIP, LOWER_LIP = 2, 10, 152, 13, 14
CONTOUR_POINTS = 256

X, Y, NORMAL_X, NORMAL_Y, SKIN, OPEN = range(6)
"""Columns of a contour: place in pixels, outward normal, 1 where the rim is skin, 1 where no frame's edge cuts it."""


def side_of_line(points: NDArray[np.floating], landmarks: NDArray[np.float32], through: int) -> NDArray[np.bool_]:
    """(..., 2) points -> (...,) bool: on the forehead's side of the line across the face through a landmark."""
    up = landmarks[FOREHEAD] - landmarks[CHIN]
    return np.asarray((points - landmarks[through]) @ up >= 0)


def matte_contour(
    image: NDArray[np.uint8],
    matte: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    inside: NDArray[np.bool_] | None = None,
    most: int | None = CONTOUR_POINTS,
) -> NDArray[np.float32]:
    """The edge of the matte from the mouth upwards: there it is face, ears and hair, and neither neck nor shoulder.

    Args:
        image: (H, W, 3).
        matte: (H, W).
        landmarks: (478, 2) pixels.
        inside: (H, W) where the crop lies within the source image.
        most: At most so many points, evenly spread.

    Returns:
        (N, 6) rows of x, y, normal x, normal y, skin, open; see `X` and the following.
    """
    height, width = matte.shape
    contours, _ = cv2.findContours((matte > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 6), np.float32)
    pixels = max(contours, key=len)[:, 0]
    pixels = pixels[side_of_line(pixels + 0.5, landmarks, UPPER_LIP)]
    if most is not None and len(pixels) > most:
        pixels = pixels[np.linspace(0, len(pixels) - 1, most).astype(int)]
    smooth = cv2.GaussianBlur(matte, (0, 0), max(1.0, 2.0 * height / 512))
    slope_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)[pixels[:, 1], pixels[:, 0]]
    slope_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)[pixels[:, 1], pixels[:, 0]]
    normals = -np.stack([slope_x, slope_y], 1) / (np.hypot(slope_x, slope_y)[:, None] + 1e-6)
    centres = (pixels + 0.5).astype(np.float32)
    low, high = np.zeros(2), np.array([width, height], np.float64)
    if inside is not None:
        columns, rows = np.flatnonzero(inside.any(0)), np.flatnonzero(inside.any(1))
        low, high = np.array([columns[0], rows[0]]), np.array([columns[-1] + 1, rows[-1] + 1])
    is_open = np.all((centres > low + 2) & (centres < high - 2), axis=1)
    skin = rims_are_skin(centres, normals, image, landmarks)
    # The edge lies half a pixel outside the centre of the last pixel within.
    flags = np.stack([skin, np.asarray(is_open)], 1)
    return np.concatenate([centres + 0.5 * normals, normals, flags], axis=1).astype(np.float32)


def padded_contour(contour: NDArray[np.float32], rows: int = CONTOUR_POINTS) -> NDArray[np.float32]:
    """(N, 6) -> (rows, 6), with NaN below."""
    result = np.full((rows, 6), np.nan, np.float32)
    result[: len(contour)] = contour
    return result


def contour_extents(
    contour: NDArray[np.float32], landmarks: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How far the matte reaches above the base of the nose.

    Args:
        contour: (N, 6), NaN rows allowed.
        landmarks: (478, 2) pixels.

    Returns:
        (D,) extents in pixels, NaN where a frame's edge cuts the subject; (D,) whether the rim that far out is skin.
    """
    known = contour[np.isfinite(contour[:, X])]
    known = known[side_of_line(known[:, :2], landmarks, NOSE_BASE)]
    if not len(known):
        return np.full(len(DIRECTIONS), np.nan, np.float32), np.zeros(len(DIRECTIONS), bool)
    reach = known[:, :2] @ DIRECTIONS.T  # (N, D)
    best = reach.argmax(0)
    extents = reach[best, np.arange(len(DIRECTIONS))]
    extents[known[best, OPEN] < 0.5] = np.nan
    return extents.astype(np.float32), known[best, SKIN] > 0.5


def mesh_extents(points: Tensor) -> Tensor:
    """(..., N, 2) projected vertices -> (..., D) extents in pixels."""
    return (points @ torch.from_numpy(DIRECTIONS).to(points).mT).amax(-2)


def mesh_outline(
    pixels: NDArray[np.floating], faces: NDArray[np.int64], width: int, height: int
) -> NDArray[np.float32]:
    """(N, 2) pixel centres on the outer contour of the projected mesh, its cuts by the frame's edge left out.

    Args:
        pixels: (V, 2) projected vertices.
        faces: (F, 3).
    """
    drawn = np.zeros((height, width), np.uint8)
    fixed = np.clip(np.round((pixels[faces] - 0.5) * 16), -(2**20), 2**20).astype(np.int32)
    for triangle in fixed:
        cv2.fillConvexPoly(drawn, triangle, 255, lineType=cv2.LINE_8, shift=4)
    contours, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 2), np.float32)
    points = max(contours, key=len)[:, 0]
    border = (points <= 1).any(1) | (points[:, 0] >= width - 2) | (points[:, 1] >= height - 2)
    return (points[~border] + 0.5).astype(np.float32)


def ear_vertices(vertices: Tensor, nose: float, eyes: float) -> Tensor:
    """(V,) bool: what stands out beside the skull between the base of the nose and just above the eyes.

    Args:
        vertices: (V, 3) at rest, metres.
        nose, eyes: Heights (y) of the base of the nose and of the eyes.
    """
    unit = eyes - nose  # About 4 cm.
    above = (vertices[:, 1] > eyes + 0.8 * unit) & (vertices[:, 1] < eyes + 1.3 * unit)
    skull = vertices[above, 0].abs().max()
    height = (vertices[:, 1] > nose - 0.5 * unit) & (vertices[:, 1] < eyes + 0.7 * unit)
    return height & (vertices[:, 0].abs() > 0.95 * skull)


def outline_vertices(vertices: Tensor, least_height: float, *, turns: int = 9, top: int = 3) -> Tensor:
    """The vertices that can reach furthest in some direction and pose, of those above a height.

    Args:
        vertices: (V, 3) at rest, x left, y up, z front.
        least_height: Lowest y that counts.
        turns: Yaw angles tried.
        top: So many vertices are kept per direction and pose, since identities move them against each other.

    Returns:
        (N,) sorted vertex indices.
    """
    upper = torch.nonzero(vertices[:, 1] >= least_height)[:, 0]
    chosen = torch.zeros(len(vertices), dtype=torch.bool)
    directions = torch.from_numpy(DIRECTIONS).to(vertices) * vertices.new_tensor([1.0, -1.0])
    for yaw in torch.linspace(-1.1, 1.1, turns).tolist():
        for pitch in torch.linspace(-0.6, 0.6, 5).tolist():
            right = vertices.new_tensor([math.cos(yaw), 0.0, -math.sin(yaw)])
            up = vertices.new_tensor(
                [math.sin(yaw) * math.sin(pitch), math.cos(pitch), math.cos(yaw) * math.sin(pitch)]
            )
            flat = vertices[upper] @ torch.stack([right, up], -1)  # (N, 2)
            reach = flat @ directions.mT
            chosen[upper[reach.topk(min(top, len(upper)), dim=0).indices.flatten()]] = True
    return torch.nonzero(chosen)[:, 0]
