"""Crops: where they lie, how they move, and that a pixel ends up where the crop says."""

from __future__ import annotations

import numpy as np
import pytest

from spatialavatar.track.crop import Crops, choose_crops, cut, source_boxes


def boxes(centres: np.ndarray, height: float = 200.0) -> np.ndarray:
    half = np.array([0.4 * height, 0.5 * height])
    return np.concatenate([centres - half, centres + half], 1)


def still(count: int, x: float = 500.0, y: float = 700.0) -> np.ndarray:
    return np.repeat(np.array([[x, y]]), count, 0)


def test_a_square_frame_with_a_large_face_is_used_as_it_is() -> None:
    crops = choose_crops(boxes(still(3, 256, 250)), (512, 512), 512, frame_rate=25)
    assert np.array_equal(crops.corners, np.zeros((3, 2))) and np.array_equal(crops.sides, np.full(3, 512.0))
    image = np.zeros((512, 512, 3), np.uint8)
    pixels, inside = cut(image, crops, 0)
    assert pixels is image and inside is None


def test_a_small_face_in_a_square_frame_is_cropped() -> None:
    crops = choose_crops(boxes(still(3, 512, 500), 150), (1024, 1024), 512, frame_rate=25)
    assert 300 < crops.sides[0] < 400


def test_a_face_that_hardly_moves_gets_a_crop_that_stands_still() -> None:
    wander = still(50) + np.random.default_rng(0).normal(0, 10, (50, 2))
    crops = choose_crops(boxes(wander), (1080, 1920), 512, frame_rate=25)
    assert np.ptp(crops.sides) == 0 and np.ptp(crops.corners, axis=0).max() == 0
    assert np.array_equal(crops.corners, np.rint(crops.corners))


def test_a_face_that_walks_is_followed_smoothly_without_lag() -> None:
    walk = still(101) + np.linspace(-400, 400, 101)[:, None] * np.array([1.0, 0])
    noisy = walk + np.random.default_rng(0).normal(0, 4, walk.shape)
    crops = choose_crops(boxes(noisy), (2000, 1400), 512, frame_rate=25)
    centres = crops.corners[:, 0] + crops.sides / 2
    # In the middle a straight walk stays a straight walk; a causal filter would trail by seconds x speed = 100 px.
    assert np.abs(centres - walk[:, 0])[30:70].max() < 5
    assert np.abs(np.diff(centres, 2)).max() < 1


def test_missing_frames_are_filled() -> None:
    with_gap = boxes(still(9))
    with_gap[3:5] = np.nan
    crops = choose_crops(with_gap, (1080, 1920), 512, frame_rate=25)
    assert np.isfinite(crops.corners).all() and np.isfinite(crops.sides).all()


def test_high_hair_makes_the_crop_reach_higher() -> None:
    low = choose_crops(boxes(still(1)), (1080, 1920), 512, frame_rate=0)
    high = choose_crops(boxes(still(1)), (1080, 1920), 512, frame_rate=0, hair_tops=np.array([440.0]))
    assert low.corners[0, 1] > 440
    assert high.corners[0, 1] < 440


def test_modes() -> None:
    face = choose_crops(boxes(still(1, 256, 250)), (512, 512), 256, frame_rate=0, mode="face")
    assert face.sides[0] < 512
    whole = choose_crops(boxes(still(1)), (1080, 1920), 256, frame_rate=0, mode="none")
    assert whole.sides[0] == 1080 and np.array_equal(whole.corners[0], [0, 420])


@pytest.mark.parametrize("side", [128.0, 200.0, 512.0, 333.3])
def test_pixels_land_where_points_do(side: float) -> None:
    """A picture whose colour is its own coordinates: the crop's colour must be the place its pixels come from."""
    y, x = np.mgrid[0:600, 0:600] + 0.5
    image = np.stack([x / 4, y / 4, np.full_like(x, 100)], -1)
    crops = Crops(np.array([[31.4, 22.7]]), np.array([side]), 256)
    pixels, inside = cut(np.rint(image).astype(np.uint8), crops, 0)
    assert inside is None and pixels.shape == (256, 256, 3)
    grid = np.stack(np.meshgrid(np.arange(256) + 0.5, np.arange(256) + 0.5), -1)
    source = grid / crops.scales[0] + crops.corners[0]
    # Colours are quarter pixels rounded to whole numbers, so one unit is four pixels of the source.
    assert np.abs(pixels[8:-8, 8:-8, :2].astype(float) - source[8:-8, 8:-8] / 4).mean() < 0.4
    back = crops.apply(source.astype(np.float32), 0)
    assert np.abs(back - grid).max() < 1e-2


def test_beyond_the_frame_is_marked() -> None:
    image = np.full((100, 100, 3), 77, np.uint8)
    pixels, inside = cut(image, Crops(np.array([[-50.0, 20.0]]), np.array([100.0]), 200), 0)
    assert inside is not None and pixels.shape == (200, 200, 3)
    assert not inside[:, :100].any() and inside[:160, 100:].all() and not inside[160:].any()
    assert (pixels == 77).all()


@pytest.mark.parametrize(("corner", "side"), [((-50.0, 20.0), 100.0), ((-7.3, -3.9), 120.4), ((30.0, 31.5), 90.2)])
def test_the_box_of_the_source_is_where_pixels_are_marked(corner: tuple[float, float], side: float) -> None:
    crops = Crops(np.array([corner]), np.array([side]), 200)
    _, inside = cut(np.zeros((100, 100, 3), np.uint8), crops, 0)
    left, top, right, bottom = source_boxes(crops.corners, crops.scales, np.array([[100.0, 100.0]]))[0]
    centres = np.arange(200) + 0.5
    rows, columns = (centres >= top) & (centres < bottom), (centres >= left) & (centres < right)
    assert inside is not None and np.array_equal(inside, rows[:, None] & columns[None])
