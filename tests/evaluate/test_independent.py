"""Metrics that no library has, against a second implementation of each: plain loops, scipy's filters, scikit-image."""

import math
import random
import statistics
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.draw
import torch
from PIL import Image

from spatialavatar.evaluate import motion, regions
from spatialavatar.evaluate.faces import FACE_OVAL, LEFT_EYE_OUTLINE, LIPS_OUTLINE, RIGHT_EYE_OUTLINE
from spatialavatar.evaluate.pictures import FolderPictures
from spatialavatar.evaluate.score import open_tools, score_pictures
from spatialavatar.evaluate.spikes import spike_score
from spatialavatar.evaluate.statistics import mean_of
from spatialavatar.refine import held_out
from tests.synthetic import subject
from tests.track.synthetic import SIZE, synthetic


def test_spikes_by_scipys_filters() -> None:
    target = np.asarray(skimage.data.astronaut())[:160, 150:300].astype(np.float64) / 255
    draws = np.random.default_rng(0)
    image = np.clip(target + (draws.random(target.shape) > 0.99) * 0.5, 0, 1)

    def largest(values: np.ndarray, size: int) -> np.ndarray:
        return scipy.ndimage.maximum_filter(values, size, mode="constant", cval=-np.inf)

    def smallest(values: np.ndarray, size: int) -> np.ndarray:
        return scipy.ndimage.minimum_filter(values, size, mode="constant", cval=np.inf)

    def thin(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        luma = picture @ np.array([0.2126, 0.7152, 0.0722])
        return luma - largest(smallest(luma, 5), 5), smallest(largest(luma, 5), 5) - luma

    ours, theirs = np.maximum(*thin(image)), np.maximum(*thin(target))
    expected = 1000 * np.clip(ours - largest(theirs, 9), 0, None).mean()
    found = spike_score(torch.from_numpy(image).float(), torch.from_numpy(target).float())
    assert expected > 1 and found == pytest.approx(expected, rel=1e-4)  # float32 against float64


def test_regions_by_scikit_images_polygons() -> None:
    points = synthetic(1).observations.landmarks[0]
    masks = regions.region_masks(points, SIZE, SIZE)

    def polygon(outline: tuple[int, ...], factor: float) -> np.ndarray:
        corners = points[list(outline), :2].astype(np.float64)
        wide = corners.mean(0) + factor * (corners - corners.mean(0))
        return skimage.draw.polygon2mask((SIZE, SIZE), wide[:, ::-1] - 0.5)

    eyes = polygon(RIGHT_EYE_OUTLINE, 1.5) | polygon(LEFT_EYE_OUTLINE, 1.5)
    for name, other in (("face", polygon(FACE_OVAL, 1.0)), ("mouth", polygon(LIPS_OUTLINE, 1.25)), ("eyes", eyes)):
        ours = masks[name].numpy()
        # Pillow rounds corners to whole pixels and draws the outline itself: half a pixel and one more along the rim.
        for one, another in ((ours, other), (other, ours)):
            assert not (one & ~scipy.ndimage.binary_dilation(another, np.ones((5, 5)))).any(), name


def test_above_the_chin_is_what_refinement_scores() -> None:
    made = subject(3, 64)
    landmarks = torch.full((3, 478, 2), 20.0)
    landmarks[:, held_out.CHIN_LANDMARK, 1] = 41.7
    sequence = made.sequence
    object.__setattr__(sequence, "landmarks", landmarks)
    image, target = held_out.draw(made.avatar, sequence, 1), held_out.over_white(sequence, 1)
    error = ((image[:41] - target[:41]) ** 2).mean()
    mask = regions.region_masks(landmarks[1].numpy(), 64, 64)["above_chin"]
    assert int(mask.sum()) == 41 * 64
    theirs = held_out.score(made.avatar, sequence, [1]).psnr_above_chin
    assert theirs == pytest.approx(float(-10 * torch.log10(error)), abs=1e-3)


def walks(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 478, 3)).cumsum(0).astype(np.float32) + 100


def test_jitter_by_plain_loops() -> None:
    ours, theirs = walks(9, 0), walks(9, 1)
    following = np.array([False, True, True, True, False, True, True, True, True])
    found = motion.jitter(ours, theirs, 256, following)
    for t in range(9):
        if t in (0, 8) or not (following[t] and following[t + 1]):
            assert math.isnan(found[t])
            continue
        lengths = []
        for k in range(478):
            away = [[2.0 * (float(ours[s, k, c]) - float(theirs[s, k, c])) for c in (0, 1)] for s in (t - 1, t, t + 1)]
            lengths.append(math.hypot(*(away[0][c] - 2 * away[1][c] + away[2][c] for c in (0, 1))))
        assert found[t] == pytest.approx(statistics.fmean(lengths), rel=1e-6)


def test_blinks_by_plain_loops() -> None:
    ours, theirs = walks(12, 2), walks(12, 3)
    theirs[4] = np.nan

    def opening(points: np.ndarray) -> float:
        def far(a: int, b: int) -> float:
            return math.dist(points[a, :2].tolist(), points[b, :2].tolist())

        right = (far(159, 145) + far(158, 153) + far(160, 144)) / 3 / far(33, 133)
        left = (far(386, 374) + far(385, 380) + far(387, 373)) / 3 / far(263, 362)
        return (right + left) / 2

    a, b = [opening(points) for points in ours], [opening(points) for points in theirs]
    known = sorted(value for value in b if math.isfinite(value))
    place = 0.9 * (len(known) - 1)
    usual = known[int(place)] + (place - int(place)) * (known[int(place) + 1] - known[int(place)])
    agreement, apart, shut = motion.blinks(ours, theirs)
    assert shut == sum(value < usual / 2 for value in known) and 0 < shut < 11
    for t in range(12):
        if t == 4:
            assert math.isnan(agreement[t]) and math.isnan(apart[t])
            continue
        assert agreement[t] == ((a[t] < usual / 2) == (b[t] < usual / 2))
        assert apart[t] == pytest.approx(abs(a[t] - b[t]) / usual, rel=1e-5)  # float32 coordinates


def test_flicker_by_plain_loops(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    sides = {}
    for side in ("predictions", "targets"):
        (tmp_path / side).mkdir()
        sides[side] = draws.integers(0, 256, (4, 32, 32, 3), np.uint8)
        for t, picture in enumerate(sides[side]):
            if side == "targets" or t != 2:
                Image.fromarray(picture).save(tmp_path / side / f"{t}.png")
    with open_tools(("flicker",)) as tools:
        found = score_pictures(FolderPictures(tmp_path / "predictions", tmp_path / "targets"), tools)
    error = sides["predictions"].astype(int) - sides["targets"].astype(int)
    assert found.names == ("0", "1", "3") and np.isnan(found.columns["flicker"].values[[0, 2]]).all()
    assert found.columns["flicker"].values[1] == pytest.approx(np.abs(error[1] - error[0]).mean())


def test_intervals_by_a_plain_bootstrap() -> None:
    draws = random.Random(0)
    clips = [[draws.gauss(20 + k % 5, 1) for _ in range(10 + 7 * (k % 3))] for k in range(12)]
    found = mean_of(clips)
    means = []
    for _ in range(4000):
        chosen = [clips[draws.randrange(12)] for _ in range(12)]
        means.append(sum(map(sum, chosen)) / sum(map(len, chosen)))
    means.sort()
    assert found.mean == pytest.approx(sum(map(sum, clips)) / sum(map(len, clips)))
    # 1,000 draws know where a percentile lies to about a twentieth of the interval.
    tolerance = 0.1 * (means[3900] - means[100])
    assert found.low == pytest.approx(means[100], abs=tolerance)
    assert found.high == pytest.approx(means[3900], abs=tolerance)
