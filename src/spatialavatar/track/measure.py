"""How good a tracking is, in numbers that mean the same for every video (docs/tracking.md defines them)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import LandmarkEmbedding
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import project
from spatialavatar.track.model import INTER_OCULAR_METRES
from spatialavatar.track.outline import OPEN, SKIN, UPPER_LIP, matte_contour, mesh_outline, side_of_line

_OUTLINE_SAMPLES = 40
# Landmarks trusted less than this lie on the face's outline or brow, where the detector follows what it sees.
INNER_WEIGHT = 0.3
# Points that no expression moves by more than this share of the inter-ocular distance are still.
_STILL = 0.05
_FIRST_IRIS = 468
_EYE_CORNERS = (33, 133, 263, 362)
# Points further from the matte's edge than this, in inter-ocular distances, have no common edge with it.
_FURTHEST = 0.6


# Less of the outline than this says nothing: hair hides it.
_LEAST_MEASURED = 0.05


@dataclass(frozen=True)
class Errors:
    """Median and 95th percentile."""

    median: float
    p95: float

    def report(self) -> dict[str, float | None]:
        """For JSON, which has no NaN: null says that nothing could be measured."""
        values = {"median": self.median, "p95": self.p95}
        return {name: round(value, 5) if math.isfinite(value) else None for name, value in values.items()}


def landmark_error(sequence: TrackedSequence, head: Head, embedding: LandmarkEmbedding) -> Errors:
    """Over frames: mean distance of the inner landmarks to where the mesh puts them, over the inter-ocular distance.

    No personal offsets help: the mesh's points are those of the embedding.
    """
    assert sequence.landmarks is not None
    frames = torch.nonzero(sequence.is_valid)[:, 0]
    inner = embedding.weights > INNER_WEIGHT
    found = sequence.landmarks[frames]
    between = (found[:, 468] - found[:, 473]).norm(dim=1)
    apart = fitted_landmarks(sequence, head, embedding, frames) - found[:, embedding.indices]
    return _errors((apart.norm(dim=-1)[:, inner].mean(1) / between).numpy())


@torch.no_grad()
def fitted_landmarks(sequence: TrackedSequence, head: Head, embedding: LandmarkEmbedding, frames: Tensor) -> Tensor:
    """(K, L, 2) pixels where the mesh puts the embedding's points in some frames (K,)."""
    needed, corners = embedding.vertices(head.faces)
    rig = head.restrict(needed)
    identity = rig.prepare_identity(sequence.identity)
    parts = []
    for chunk in frames.split(64):
        points = embedding.points_from_restricted(rig.pose(identity, sequence.motion[chunk]), corners)
        parts.append(project(points, sequence.camera_from_world[chunk], sequence.intrinsics[chunk])[0])
    return torch.cat(parts)


def jitter(
    sequence: TrackedSequence, head: Head, embedding: LandmarkEmbedding, drift: Tensor | None = None
) -> float | None:
    """How much still points of the mesh tremble: mean second difference in time, in pixels at 512; None for few frames.

    Still are points that no expression moves: speech and blinks are no trembling. Measured where the head is stillest,
    in the half of the frames in which the points move slowest over a fifth of a second either way, so that what is
    counted is not the person's own starts and stops. Pixels are those of the source's camera: a crop that follows the
    head does not count.

    Args:
        drift: (T, 4) `steady.picture_motion`: what the face does in the picture (a head that shakes, a camera in the
            hand) is then taken away from what the mesh does.
    """
    count = len(sequence)
    reach = max(1, round(0.2 * sequence.frame_rate))
    if sequence.kind != "video" or count < 4 * reach + 3:
        return None
    pixels = fitted_landmarks(sequence, head, embedding, torch.arange(count)) - sequence.intrinsics[:, None, :2, 2]
    bend = pixels[2:] - 2 * pixels[1:-1] + pixels[:-2]
    if drift is not None:
        bend = bend - _picture_bend(pixels[1:-1], between_eyes(pixels[1:-1], embedding), drift)
    scale = 512 / sequence.height
    speed = (pixels[2 * reach :] - pixels[: -2 * reach]).norm(dim=-1).mean(1)
    points = still_points(head, embedding)
    trembling = scale * bend[:, points].norm(dim=-1).mean(1)[reach - 1 : count - reach - 1]
    valid = sequence.is_valid[reach : count - reach]
    still = valid & (speed <= speed[valid].median()) if bool(valid.any()) else valid
    return float(trembling[still].mean()) if bool(still.any()) else None


@torch.no_grad()
def still_points(head: Head, embedding: LandmarkEmbedding) -> Tensor:
    """(L,) bool: points that no expression moves, on forehead, nose, temples and corners of the eyes; no irises."""
    count = head.num_expressions
    motion = Motion.neutral(count + 1, count)
    motion.expression[1:] = torch.eye(count)
    needed, corners = embedding.vertices(head.faces)
    rig = head.restrict(needed)
    identity = rig.prepare_identity(torch.zeros(1))
    points = embedding.points_from_restricted(rig.pose(identity, motion), corners)
    furthest = (points[1:] - points[0]).norm(dim=-1).amax(0) / INTER_OCULAR_METRES
    return (furthest < _STILL) & (embedding.indices < _FIRST_IRIS)


def between_eyes(points: Tensor, embedding: LandmarkEmbedding) -> Tensor:
    """(T, L, 2) the embedding's points -> (T, 2) the middle of the eyes' corners; of all where it knows no corners."""
    corners = torch.isin(embedding.indices, torch.tensor(_EYE_CORNERS))
    return points[:, corners if bool(corners.any()) else torch.ones_like(corners)].mean(1)


def _picture_bend(pixels: Tensor, eyes: Tensor, drift: Tensor) -> Tensor:
    """(T - 2, L, 2) second differences in time of points that move as the face does in the picture.

    Args:
        pixels: (T - 2, L, 2) where they are.
        eyes: (T - 2, 2) the middle between the eyes, of which `drift` tells the shift.
    """
    steps = drift.diff(dim=0).diff(dim=0)[:, None]
    offset = pixels - eyes[:, None]
    turned = torch.stack([-offset[..., 1], offset[..., 0]], -1)
    return steps[..., :2] + steps[..., 2:3] * turned + steps[..., 3:] * offset


@dataclass(frozen=True)
class OutlineErrors:
    """Mesh outline against matte, in pixels at 512.

    Attributes:
        skin: Distance where the two must be one edge; NaN where hair hides nearly all of it.
        measured: Share of the outline from the mouth upwards where that is so.
        outside: 95th percentile of how far the mesh stands outside the matte, anywhere from the mouth upwards.
    """

    skin: Errors
    measured: float
    outside: float

    def report(self) -> dict[str, float | None]:
        return {**self.skin.report(), "measured": round(self.measured, 3), "outside_p95": round(self.outside, 3)}


def outline_error(sequence: TrackedSequence, head: Head) -> OutlineErrors:
    """Distance between the mesh's outline and the matte's, in pixels at 512, hair apart.

    Of evenly spread frames, each point of the mesh's outline from the mouth upwards is held against the nearest point
    of the matte's outline. It counts where the rim of the matte is skin there, so that no hair lies between the two.

    """
    assert sequence.landmarks is not None
    identity = head.prepare_identity(sequence.identity)
    chosen = torch.nonzero(sequence.is_valid)[:, 0]
    chosen = chosen[torch.linspace(0, len(chosen) - 1, min(_OUTLINE_SAMPLES, len(chosen))).round().long()]
    distances, outside = [np.zeros(0, np.float32)], [np.zeros(1, np.float32)]
    for index in chosen.tolist():
        with torch.no_grad():
            vertices = head.pose(identity, sequence.motion[torch.tensor([index])])[0]
            pixels, _ = project(vertices, sequence.camera_from_world[index], sequence.intrinsics[index])
        landmarks = sequence.landmarks[index].numpy()
        outline = mesh_outline(pixels.numpy(), head.faces.numpy(), sequence.width, sequence.height)
        outline = outline[side_of_line(outline, landmarks, UPPER_LIP)]
        image, matte = sequence.image(index).numpy(), sequence.matte(index).numpy()
        distances.append(rim_distances(outline, matte_contour(image, matte, landmarks, most=None), landmarks))
        away = cv2.distanceTransform((matte < 128).astype(np.uint8), cv2.DIST_L2, 5)
        outside.append(away[outline[:, 1].astype(int), outline[:, 0].astype(int)])
    scale = np.float32(512 / sequence.height)
    together = np.concatenate(distances) * scale
    counted = np.isfinite(together)
    measured = float(counted.mean()) if len(counted) else 0.0
    skin = _errors(together[counted]) if measured >= _LEAST_MEASURED else Errors(float("nan"), float("nan"))
    return OutlineErrors(skin, measured, float(np.percentile(np.concatenate(outside), 95)) * float(scale))


def rim_distances(
    outline: NDArray[np.float32], contour: NDArray[np.float32], landmarks: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, 2) outline points -> (N,) distance to the matte's contour (M, 6) in pixels; NaN where its rim is not skin."""
    from scipy.spatial import cKDTree

    if not len(contour) or not len(outline):
        return np.full(len(outline), np.nan, np.float32)
    # Both outlines name the centres of the last pixels within.
    distance, nearest = cKDTree(contour[:, :2] - 0.5 * contour[:, 2:4]).query(outline)
    between = float(np.linalg.norm(landmarks[468] - landmarks[473]))
    counts = (contour[nearest, SKIN] > 0.5) & (contour[nearest, OPEN] > 0.5) & (distance < _FURTHEST * between)
    return np.where(counts, distance, np.nan).astype(np.float32)


def _errors(values: NDArray[np.float32]) -> Errors:
    return Errors(float(np.median(values)), float(np.percentile(values, 95)))
