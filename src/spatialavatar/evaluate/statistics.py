"""Means over frames, and how sure they are: bootstrap intervals that know neighbouring frames are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 25
"""Frames drawn together: a second of video, beyond which frames tell different things."""
LEAST_CLIPS = 5
"""From so many clips on whole clips are drawn; below, blocks of frames within clips."""
DRAWS = 1000


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % interval.

    Attributes:
        mean: Over all frames of all clips together, as the field's tables have it; NaN where nothing was measured.
        low, high: 2.5th and 97.5th percentile of the bootstrap.
        frames: How many frames were measured.
        clips: How many clips they come from.
    """

    mean: float
    low: float
    high: float
    frames: int
    clips: int

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON, which has no NaN."""
        numbers = {"mean": self.mean, "low": self.low, "high": self.high}
        plain = {name: round(value, 6) if math.isfinite(value) else None for name, value in numbers.items()}
        return {**plain, "frames": self.frames, "clips": self.clips}


def mean_of(clips: Sequence[Sequence[float] | NDArray[np.float64]], *, seed: int = 0, draws: int = DRAWS) -> Mean:
    """Mean and interval of per-frame values of some clips; values that are not finite were not measured.

    With `LEAST_CLIPS` clips or more, clips are drawn with replacement. With fewer, blocks of `BLOCK` frames are drawn
    within each clip (the circular block bootstrap), since single frames of a video are anything but independent.
    """
    values = [np.asarray(clip, np.float64) for clip in clips]
    values = [clip[np.isfinite(clip)] for clip in values]
    values = [clip for clip in values if len(clip)]
    frames = sum(len(clip) for clip in values)
    if not frames:
        return Mean(float("nan"), float("nan"), float("nan"), 0, 0)
    mean = float(np.concatenate(values).mean())
    random = np.random.default_rng(seed)
    means = _over_clips(values, random, draws) if len(values) >= LEAST_CLIPS else _over_blocks(values, random, draws)
    low, high = (float(edge) for edge in np.percentile(means, [2.5, 97.5]))
    return Mean(mean, low, high, frames, len(values))


def _over_clips(values: list[NDArray[np.float64]], random: np.random.Generator, draws: int) -> NDArray[np.float64]:
    sums = np.array([clip.sum() for clip in values])
    counts = np.array([len(clip) for clip in values])
    chosen = random.integers(len(values), size=(draws, len(values)))
    return sums[chosen].sum(1) / counts[chosen].sum(1)


def _over_blocks(values: list[NDArray[np.float64]], random: np.random.Generator, draws: int) -> NDArray[np.float64]:
    total = np.zeros(draws)
    for clip in values:
        length = min(BLOCK, max(1, len(clip) // 4))
        blocks = math.ceil(len(clip) / length)
        starts = random.integers(len(clip), size=(draws, blocks))
        index = (starts[..., None] + np.arange(length)).reshape(draws, -1)[:, : len(clip)] % len(clip)
        total += clip[index].sum(1)
    return total / sum(len(clip) for clip in values)
