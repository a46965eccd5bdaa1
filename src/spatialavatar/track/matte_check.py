"""Mattes checked: whether they flicker, and how well the mesh's silhouette lies on them, hair apart."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.head.head import Head
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import project, silhouette_mask
from spatialavatar.track.outline import SKIN, UPPER_LIP, matte_contour, side_of_line

# Frames a run of neighbours has, and how many runs are looked at.
_RUN, _RUNS = 5, 60
_SAMPLES = 24
_LARGEST_STEP = 0.05


@dataclass(frozen=True)
class Flicker:
    """How much mattes come and go from frame to frame.

    Attributes:
        rim: Mean width of the rim that comes back to where it was within five frames, in pixels at 512.
        jumps: Share of steps from frame to frame in which the subject's area changes by more than a twentieth.
    """

    rim: float
    jumps: float

    def report(self) -> dict[str, float]:
        return {"rim": round(self.rim, 4), "jumps": round(self.jumps, 4)}


def matte_flicker(sequence: TrackedSequence) -> Flicker | None:
    """How much a video's mattes flicker; None for photos and fewer than five frames.

    Over five neighbouring frames a pixel's steps up and down add up to the difference of its highest and lowest value
    where an edge passes by, and to more where it comes and goes: the surplus is flicker. All frames are looked at, or
    evenly spread runs of five of a long video.
    """
    count = len(sequence)
    if sequence.kind != "video" or count < _RUN:
        return None
    starts = np.unique(np.linspace(0, count - _RUN, min(_RUNS, count - _RUN + 1)).astype(int))
    kept: dict[int, NDArray[np.uint8]] = {}
    rims, steps = [], []
    for start in starts:
        run = range(start, start + _RUN)
        kept = {k: kept[k] if k in kept else sequence.matte(k).numpy() for k in run}
        if not bool(sequence.is_valid[start : start + _RUN].all()):
            continue
        rim, step = run_flicker(np.stack([kept[k] for k in run]))
        rims.append(rim)
        steps.append(step)
    if not rims:
        return None
    return Flicker(float(np.mean(rims)) * 512 / sequence.height, float((np.concatenate(steps) > _LARGEST_STEP).mean()))


def run_flicker(mattes: NDArray[np.uint8]) -> tuple[float, NDArray[np.float64]]:
    """(5, H, W) mattes -> the width in pixels of the rim that comes back; (4,) area changes."""
    areas = mattes.reshape(len(mattes), -1).astype(np.float64).mean(1) / 255
    steps = np.abs(np.diff(areas)) / np.maximum(areas[:-1], 1e-3)
    moving = np.ptp(mattes, axis=0) > 0
    values = mattes[:, moving].astype(np.float64) / 255  # The other pixels stay as they are.
    surplus = float(np.abs(np.diff(values, axis=0)).sum() - np.ptp(values, axis=0).sum())
    middle = (mattes[len(mattes) // 2] > 127).astype(np.uint8)
    contours, _ = cv2.findContours(middle, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    length = sum(len(contour) for contour in contours)
    return (surplus / length if length else 0.0), steps


@dataclass(frozen=True)
class Silhouette:
    """Mesh silhouette against matte, from the mouth upwards.

    Attributes:
        overlap: Mean intersection over union, what lies between the mesh and a rim of hair left out.
        measured: Mean share of the matte's rim that is skin, hence speaks on where the head ends.
    """

    overlap: float
    measured: float

    def report(self) -> dict[str, float]:
        return {"overlap": round(self.overlap, 4), "measured": round(self.measured, 4)}


def silhouette_overlap(sequence: TrackedSequence, head: Head) -> Silhouette | None:
    """How well the mesh covers the matte from the mouth upwards, hair apart; None where no frame has a face.

    A pixel of the matte that the mesh leaves out counts against it where the nearest point of the matte's rim is skin;
    where it is hair, the pixel is hair, which the mesh does not have. A pixel of the mesh outside the matte always
    counts against it.
    """
    assert sequence.landmarks is not None
    identity = head.prepare_identity(sequence.identity)
    chosen = torch.nonzero(sequence.is_valid & torch.isfinite(sequence.landmarks[:, 0, 0]))[:, 0]
    if not len(chosen):
        return None
    chosen = chosen[torch.linspace(0, len(chosen) - 1, min(_SAMPLES, len(chosen))).round().long()]
    overlaps, shares = [], []
    for index in chosen.tolist():
        with torch.no_grad():
            vertices = head.pose(identity, sequence.motion[torch.tensor([index])])[0]
            pixels, _ = project(vertices, sequence.camera_from_world[index], sequence.intrinsics[index])
        mesh = silhouette_mask(pixels.numpy(), head.faces.numpy(), sequence.width, sequence.height)
        matte = sequence.matte(index).numpy() > 127
        landmarks = sequence.landmarks[index].numpy()
        contour = matte_contour(sequence.image(index).numpy(), matte.astype(np.uint8) * 255, landmarks, most=None)
        overlap, share = overlap_without_hair(mesh, matte, contour, landmarks)
        overlaps.append(overlap)
        shares.append(share)
    return Silhouette(float(np.mean(overlaps)), float(np.mean(shares)))


def overlap_without_hair(
    mesh: NDArray[np.bool_], matte: NDArray[np.bool_], contour: NDArray[np.float32], landmarks: NDArray[np.float32]
) -> tuple[float, float]:
    """Of one frame: (intersection over union, share of the rim that is skin).

    Args:
        mesh, matte: (H, W).
        contour: (N, 6) of the matte, see `outline.matte_contour`.
        landmarks: (478, 2) pixels.
    """
    from scipy.spatial import cKDTree

    rows, columns = np.mgrid[: matte.shape[0], : matte.shape[1]]
    upper = side_of_line(np.stack([columns + 0.5, rows + 0.5], -1), landmarks, UPPER_LIP)
    mesh, matte = mesh & upper, matte & upper
    left_out = matte & ~mesh
    if len(contour):
        places = np.argwhere(left_out)
        _, nearest = cKDTree(contour[:, [1, 0]]).query(places + 0.5) if len(places) else (0, np.zeros(0, int))
        hair = places[contour[nearest, SKIN] < 0.5]
        left_out[hair[:, 0], hair[:, 1]] = False
    union = float((mesh | left_out).sum())
    share = float((contour[:, SKIN] > 0.5).mean()) if len(contour) else 0.0
    return float((mesh & matte).sum()) / max(union, 1.0), share
