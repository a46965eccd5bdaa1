"""Match the mesh's contour with the matte's, as the fit stands."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.track.loss import Matches
from spatialavatar.track.model import FaceModel, Unknowns, View, project_rig
from spatialavatar.track.outline import OPEN, SKIN, UPPER_LIP, mesh_outline, side_of_line

_MATCHES = 160
# Points further apart than this, in inter-ocular distances, belong to no common edge.
_FURTHEST = 0.6


def match_contours(
    model: FaceModel,
    unknowns: Unknowns,
    view: View,
    contours: NDArray[np.float32],
    landmarks: NDArray[np.float32],
    size: int,
) -> Matches | None:
    """Draw the mesh of every frame and give each point of its contour the nearest point of the matte's.

    Args:
        contours: (T, C, 6) of the mattes; see `outline.matte_contour`.
        landmarks: (T, 478, 2) pixels.
        size: Side of the frames in pixels.

    Returns:
        The matches, or None where no frame has any.
    """
    from scipy.spatial import cKDTree

    with torch.no_grad():
        pixels = project_rig(model.head.rig, model, unknowns, view).numpy()
    count = len(pixels)
    vertices = np.zeros((count, _MATCHES), np.int64)
    found = np.zeros((count, _MATCHES, 6), np.float32)
    weights = np.zeros((count, _MATCHES), np.float32)
    faces = model.head.faces.numpy()
    for k in range(count):
        contour = contours[k][np.isfinite(contours[k][:, 0])]
        contour = contour[contour[:, OPEN] > 0.5]
        outline = mesh_outline(pixels[k], faces, size, size)
        outline = outline[side_of_line(outline, landmarks[k], UPPER_LIP)]
        if not len(contour) or not len(outline):
            continue
        outline = outline[np.linspace(0, len(outline) - 1, min(_MATCHES, len(outline))).astype(int)]
        _, vertex = cKDTree(pixels[k]).query(outline)
        distance, nearest = cKDTree(contour[:, :2]).query(outline)
        vertices[k, : len(outline)] = vertex
        found[k, : len(outline)] = contour[nearest]
        weights[k, : len(outline)] = distance < _FURTHEST * float(view.inter_ocular[k])
    if not weights.any():
        return None
    used, index = np.unique(vertices, return_inverse=True)
    points = torch.from_numpy(found)
    return Matches(
        rig=model.head.restrict(torch.from_numpy(used)),
        vertices=torch.from_numpy(index.reshape(vertices.shape)),
        points=points[..., :2],
        normals=points[..., 2:4],
        skin=points[..., SKIN],
        weights=torch.from_numpy(weights),
    )
