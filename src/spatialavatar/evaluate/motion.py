"""Whether the picture does what its target does: AED, APD, AKD, jitter, blinks. Per frame, NaN where not measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.evaluate.estimator import FaceCodes
from spatialavatar.evaluate.faces import Points

VERSION = 1
PIXELS_AT = 512
"""Distances in pixels are scaled to pictures of this height."""
SHUT = 0.5
"""An eye is shut when its opening is below this share of how far the target's eyes are usually open."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One metric's value per frame, and the id that says how it was measured."""

    id: str
    values: Values


def code_distances(predicted: FaceCodes, target: FaceCodes, estimator: str) -> dict[str, Column]:
    """AED and APD: L1 distance of expressions and of head angles (radians), as mean and as sum over dimensions.

    The field's code takes means in one place and sums in another, so both are given.
    """
    return {
        **expression_distances(predicted.expression, target.expression, estimator),
        **angle_distances(predicted.angles, target.angles, estimator),
    }


def expression_distances(predicted: NDArray[Any], target: NDArray[Any], estimator: str) -> dict[str, Column]:
    """AED of (T, E) expression codes."""
    distance = np.abs(predicted - target).astype(np.float64)
    return {
        "aed": Column(f"aed.mean.{estimator}", distance.mean(1)),
        "aed_sum": Column(f"aed.sum.{estimator}", distance.sum(1)),
    }


def angle_distances(predicted: NDArray[Any], target: NDArray[Any], estimator: str) -> dict[str, Column]:
    """APD of (T, 3) head angles in radians; whole turns are no distance."""
    turns = _wrapped(predicted - target)
    return {
        "apd": Column(f"apd.mean.{estimator}", turns.mean(1)),
        "apd_sum": Column(f"apd.sum.{estimator}", turns.sum(1)),
    }


def keypoint_distances(predicted: NDArray[Any], target: NDArray[Any], height: int, reader: str) -> dict[str, Column]:
    """AKD of (T, K, 2 or 3) keypoints: mean and sum over the points of their distance in pixels at 512, and the mean
    L1 distance over coordinates."""
    difference = (predicted[..., :2] - target[..., :2]).astype(np.float64) * (PIXELS_AT / height)
    distance = np.linalg.norm(difference, axis=-1)
    points = f"{predicted.shape[1]}-{VERSION}"
    return {
        "akd": Column(f"akd.mean-l2-at-512.{reader}.{points}", distance.mean(1)),
        "akd_sum": Column(f"akd.sum-l2-at-512.{reader}.{points}", distance.sum(1)),
        "akd_l1": Column(f"akd.mean-l1-at-512.{reader}.{points}", np.abs(difference).mean((1, 2))),
    }


def jitter(predicted: Points, target: Points, height: int, consecutive: NDArray[np.bool_]) -> Values:
    """(T,) how far keypoints shake: second difference in time of their distance to the target's, pixels at 512.

    Args:
        predicted, target: (T, K, 2 or 3) pixels.
        height: Of the pictures.
        consecutive: (T,) whether a frame follows the one before it without a gap.

    What the target does too is no jitter. The first and last frame of a run, and neighbours of frames without a face,
    are not measured.
    """
    away = (predicted[..., :2] - target[..., :2]).astype(np.float64) * (PIXELS_AT / height)
    result = np.full(len(away), np.nan)
    if len(away) < 3:
        return result
    bend = np.linalg.norm(away[2:] - 2 * away[1:-1] + away[:-2], axis=-1).mean(1)
    together = consecutive[1:-1] & consecutive[2:]
    result[1:-1] = np.where(together, bend, np.nan)
    return result


def eye_opening(points: Points) -> Values:
    """(T,) height over width of the eyes' opening, mean of both, from (T, 478, 2 or 3) landmarks."""
    p = points[..., :2].astype(np.float64)

    def ratio(pairs: tuple[tuple[int, int], ...], corners: tuple[int, int]) -> Values:
        heights = [np.linalg.norm(p[:, a] - p[:, b], axis=-1) for a, b in pairs]
        width = np.linalg.norm(p[:, corners[0]] - p[:, corners[1]], axis=-1)
        return np.mean(heights, 0) / np.maximum(width, 1e-9)

    right = ratio(((159, 145), (158, 153), (160, 144)), (33, 133))
    left = ratio(((386, 374), (385, 380), (387, 373)), (263, 362))
    return 0.5 * (right + left)


def blinks(predicted: Points, target: Points) -> tuple[Values, Values, int]:
    """Whether eyes are shut and open together.

    Returns:
        (T,) 1 where both pictures have their eyes shut or both open, else 0; (T,) absolute difference of the eyes'
        opening over the target's usual one; and in how many frames the target's eyes are shut.
    """
    ours, theirs = eye_opening(predicted), eye_opening(target)
    known = np.isfinite(ours) & np.isfinite(theirs)
    if not np.isfinite(theirs).any():
        nothing = np.full(len(theirs), np.nan)
        return nothing, nothing, 0
    usual = max(float(np.nanpercentile(theirs, 90)), 1e-6)
    shut_ours, shut_theirs = ours < SHUT * usual, theirs < SHUT * usual
    agreement = np.where(known, (shut_ours == shut_theirs).astype(np.float64), np.nan)
    return agreement, np.abs(ours - theirs) / usual, int((known & shut_theirs).sum())


def _wrapped(angles: NDArray[Any]) -> Values:
    """Absolute differences of angles, at most pi."""
    wide = angles.astype(np.float64)
    return np.abs((wide + np.pi) % (2 * np.pi) - np.pi)
