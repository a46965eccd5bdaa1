"""Means and their bootstrap intervals."""

import math

import numpy as np
import pytest

from spatialavatar.evaluate.statistics import LEAST_CLIPS, mean_of


def test_the_mean_is_over_all_frames() -> None:
    found = mean_of([[1.0, 2.0, 3.0], [10.0]])
    assert found.mean == 4 and found.frames == 4 and found.clips == 2


def test_frames_not_measured_are_left_out_and_not_zero() -> None:
    found = mean_of([[20.0, math.nan, 22.0, math.inf]])
    assert found.mean == 21 and found.frames == 2
    nothing = mean_of([[math.nan]])
    assert math.isnan(nothing.mean) and nothing.frames == 0 and nothing.as_dict()["mean"] is None


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [np.random.default_rng(0).normal(size=200)]
    assert mean_of(values, seed=3) == mean_of(values, seed=3)


def test_independent_clips_give_the_interval_of_the_normal_distribution() -> None:
    random = np.random.default_rng(1)
    clips = [random.normal(clip, 0.1, size=30) for clip in random.normal(20, 2, size=60)]
    found = mean_of(clips)
    expected = 1.96 * np.std([clip.mean() for clip in clips]) / np.sqrt(60)
    # A bootstrap of 1,000 draws of 60 clips knows its own width to about a tenth.
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.15)


def test_frames_that_are_alike_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    slow = np.cumsum(random.normal(size=600)) * 0.1
    shuffled = random.permutation(slow)

    def width(values: np.ndarray) -> float:
        found = mean_of([values])
        return found.high - found.low

    assert width(slow) > 2 * width(shuffled)


@pytest.mark.parametrize("clips", [1, LEAST_CLIPS - 1, LEAST_CLIPS, 20])
def test_the_interval_holds_the_mean(clips: int) -> None:
    random = np.random.default_rng(clips)
    found = mean_of([random.normal(size=40) for _ in range(clips)])
    assert found.low <= found.mean <= found.high


def test_one_frame_has_an_interval_of_no_width() -> None:
    found = mean_of([[5.0]])
    assert (found.low, found.mean, found.high) == (5, 5, 5)
