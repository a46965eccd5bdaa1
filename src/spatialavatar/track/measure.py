"""How good a tracking is, in numbers that mean the same for every video (docs/tracking.md defines them)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import LandmarkEmbedding
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import project
from spatialavatar.track.skin import skin_distance, skin_model

_RIM = 4
_OUTLINE_SAMPLES = 40
# Landmarks trusted less than this lie on the face's outline or brow, where the detector follows what it sees.
INNER_WEIGHT = 0.3
_SAME_EDGE = 0.12


@dataclass(frozen=True)
class Errors:
    """Median and 95th percentile."""

    median: float
    p95: float

    def report(self) -> dict[str, float]:
        return {"median": round(self.median, 5), "p95": round(self.p95, 5)}


def landmark_error(sequence: TrackedSequence, head: Head, embedding: LandmarkEmbedding) -> Errors:
    """Over frames: mean distance of the inner landmarks to where the mesh puts them, over the inter-ocular distance.

    No personal offsets help: the mesh's points are those of the embedding.
    """
    assert sequence.landmarks is not None
    needed, corners = embedding.vertices(head.faces)
    rig = head.restrict(needed)
    inner = embedding.weights > INNER_WEIGHT
    errors = []
    identity = rig.prepare_identity(sequence.identity)
    for chunk in torch.nonzero(sequence.is_valid)[:, 0].split(64):
        with torch.no_grad():
            points = embedding.points_from_restricted(rig.pose(identity, sequence.motion[chunk]), corners)
        fitted, _ = project(points, sequence.camera_from_world[chunk], sequence.intrinsics[chunk])
        found = sequence.landmarks[chunk]
        between = (found[:, 468] - found[:, 473]).norm(dim=1)
        distance = (fitted - found[:, embedding.indices]).norm(dim=-1)[:, inner].mean(1)
        errors.append(distance / between)
    return _errors(torch.cat(errors).numpy())


def outline_error(sequence: TrackedSequence, head: Head) -> tuple[Errors, float]:
    """Distance between the mesh's outline and the matte's, in pixels at 512, hair apart.

    Sampled frames are drawn. Along the mesh's outline above the chin, each point's distance to the nearest point of
    the matte's outline counts where that point's rim is skin: there no hair lies between mesh and matte. Points whose
    nearest matte outline is further than 0.12 of the frame belong to no common edge and are left out.

    Returns:
        The error, and the share of outline points above the chin that were measured.
    """
    identity = head.prepare_identity(sequence.identity)
    chosen = torch.nonzero(sequence.is_valid)[:, 0]
    chosen = chosen[torch.linspace(0, len(chosen) - 1, min(_OUTLINE_SAMPLES, len(chosen))).round().long()]
    scale = 512 / sequence.height
    found: list[NDArray[np.float32]] = []
    points = 0
    for index in chosen.tolist():
        with torch.no_grad():
            vertices = head.pose(identity, sequence.motion[torch.tensor([index])])[0]
            pixels, _ = project(vertices, sequence.camera_from_world[index], sequence.intrinsics[index])
        assert sequence.landmarks is not None
        landmarks = sequence.landmarks[index].numpy()
        outline = mesh_outline(pixels.numpy(), head.faces.numpy(), sequence.width, sequence.height)
        outline = outline[outline[:, 1] < landmarks[152, 1]]
        image, matte = sequence.image(index).numpy(), sequence.matte(index).numpy()
        distances = rim_distances(outline, image, matte, landmarks)
        found.append(distances[np.isfinite(distances)])
        points += len(distances)
    together = np.concatenate(found) if found else np.zeros(0, np.float32)
    if not len(together):
        return Errors(float("nan"), float("nan")), 0.0
    return _errors(together * scale), len(together) / max(points, 1)


def mesh_outline(pixels: NDArray[np.float32], faces: NDArray[np.int64], width: int, height: int) -> NDArray[np.int64]:
    """(N, 2) x, y pixels on the outer contour of the projected mesh."""
    drawn = np.zeros((height, width), np.uint8)
    fixed = np.clip(np.round((pixels[faces] - 0.5) * 16), -(2**20), 2**20).astype(np.int32)
    for triangle in fixed:
        cv2.fillConvexPoly(drawn, triangle, 255, lineType=cv2.LINE_8, shift=4)
    contours, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 2), np.int64)
    points = max(contours, key=len)[:, 0]
    border = (points[:, 0] <= 1) | (points[:, 1] <= 1) | (points[:, 0] >= width - 2) | (points[:, 1] >= height - 2)
    return points[~border].astype(np.int64)


def rim_distances(
    outline: NDArray[np.int64],
    image: NDArray[np.uint8],
    matte: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(N,) distance of each outline point to the matte's edge in pixels; NaN where the rim there is not skin."""
    inside = matte > 127
    edge = inside & ~cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    edge[[0, -1]] = edge[:, [0, -1]] = False
    if not edge.any() or not len(outline):
        return np.full(len(outline), np.nan, np.float32)
    distance, labels = cv2.distanceTransformWithLabels(
        (~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(edge)
    at = np.zeros((int(labels.max()) + 1, 2), np.int64)
    at[labels[rows, columns]] = np.stack([columns, rows], 1)
    nearest = at[labels[outline[:, 1], outline[:, 0]]]  # (N, 2) matte edge pixels
    skin = rim_is_skin(nearest, image, inside, landmarks)
    result = distance[outline[:, 1], outline[:, 0]].astype(np.float32)
    result[~skin | (result > _SAME_EDGE * image.shape[0])] = np.nan
    return result


def rim_is_skin(
    points: NDArray[np.int64], image: NDArray[np.uint8], inside: NDArray[np.bool_], landmarks: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(N,) whether the pixels just within the matte at these edge pixels (N, 2) have the face's own colour."""
    rim = max(2, round(_RIM * image.shape[0] / 512))
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(depth, (0, 0), 2.0))
    x, y = points[:, 0], points[:, 1]
    length = np.hypot(slope_x[y, x], slope_y[y, x]) + 1e-6
    height, width = inside.shape
    within_x = np.clip(np.rint(x + rim * slope_x[y, x] / length), 0, width - 1).astype(int)
    within_y = np.clip(np.rint(y + rim * slope_y[y, x] / length), 0, height - 1).astype(int)
    return np.asarray(skin_distance(image, skin_model(image, landmarks))[within_y, within_x] < 1.0)


def _errors(values: NDArray[np.float32]) -> Errors:
    return Errors(float(np.median(values)), float(np.percentile(values, 95)))
