"""Which way up a face is, and whether it is a person's, with the real detector on the one real face."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.track.faces import Box, MediaPipeDetector, face_roll
from spatialavatar.track.upright import Upright, find_upright, turned
from tests.track.media import astronaut


@pytest.fixture(scope="module")
def detector():
    found = MediaPipeDetector()
    yield found
    found.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_turned_face_is_found(detector: MediaPipeDetector, turns: int) -> None:
    for face in (astronaut(), astronaut()[:300, 80:380], astronaut()[:300, 380:80:-1] // 3):
        picture = turned(face, turns)
        found = find_upright([picture], detector)
        assert (found.turns + turns) % 4 == 0
        assert np.array_equal(turned(picture, found.turns), face)
        assert found.is_sure and found.score > 0.85  # 0.90 to 0.94
        note = found.note("me.jpg")
        assert note is None if turns == 0 else note is not None and "me.jpg" in note


def test_a_small_face_is_found_turned(detector: MediaPipeDetector) -> None:
    canvas = np.full((1024, 1024, 3), 128, np.uint8)
    canvas[400:656, 300:556] = astronaut()[::2, ::2]
    assert find_upright([turned(canvas, 2)], detector).turns == 2


@pytest.mark.parametrize("degrees", [-40, 40])
def test_a_head_that_leans_is_left(detector: MediaPipeDetector, degrees: int) -> None:
    canvas = Image.fromarray(astronaut()).rotate(degrees, Image.Resampling.BICUBIC, center=(220, 110))
    assert find_upright([np.asarray(canvas)], detector).turns == 0


def test_frames_vote_once_for_all(detector: MediaPipeDetector) -> None:
    upside_down, wall = turned(astronaut(), 2), np.full((240, 320, 3), 128, np.uint8)
    seen = []

    def frames():
        for frame in [wall, upside_down, wall, upside_down, upside_down, astronaut(), wall]:
            seen.append(frame)
            yield frame

    assert find_upright(frames(), detector).turns == 2
    assert len(seen) == 5  # Three with a face are enough.
    assert find_upright([astronaut(), upside_down], detector).turns == 0


def test_where_there_is_no_face_nothing_is_claimed(detector: MediaPipeDetector) -> None:
    found = find_upright([np.random.default_rng(0).integers(90, 160, (240, 320, 3), np.uint8)], detector)
    assert found.turns == 0 and math.isnan(found.score) and found.is_sure
    assert found.note("a") is None and found.doubt("a") is None
    assert find_upright([], detector).turns == 0


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_a_cat_and_a_cup_are_not_taken_for_people(detector: MediaPipeDetector, name: str) -> None:
    """What the detector sees in a cat (nothing, here) or in the rim of a cup (0.6) is no sure face."""
    found = find_upright([np.asarray(getattr(skimage.data, name)())], detector)
    assert not found.score >= 0.8
    if math.isfinite(found.score):
        doubt = found.doubt("cup.jpg")
        assert doubt is not None and "cup.jpg" in doubt and "animal" in doubt


def test_a_face_is_no_doubt(detector: MediaPipeDetector) -> None:
    assert find_upright([astronaut()], detector).doubt("her.jpg") is None
    assert "score 0.70" in (Upright(0, 0.7).doubt("it.jpg") or "")


class Scores:
    """A detector that sees what it is told, by the picture's first pixel turned along."""

    def __init__(self, scores: dict[int, float], roll: float = 0.0):
        self.scores, self.roll = scores, roll

    def boxes(self, image: NDArray[np.uint8], *, thorough: bool = False) -> list[Box]:
        if image.shape[0] < 30:
            return []
        corner = {(0, 0): 0, (0, -1): 3, (-1, -1): 2, (-1, 0): 1}
        turns = next(value for (y, x), value in corner.items() if image[y, x, 0] == 255)
        return [Box(10, 10, 12, 12, self.scores.get(turns, 0.0), self.roll)]

    def close(self) -> None: ...


def marked() -> NDArray[np.uint8]:
    image = np.zeros((40, 40, 3), np.uint8)
    image[0, 0] = 255
    return image


def test_a_turn_needs_clearly_more() -> None:
    assert find_upright([marked()], Scores({0: 0.79, 2: 0.83})).turns == 0
    assert find_upright([marked()], Scores({0: 0.79, 2: 0.9})).turns == 2
    assert find_upright([marked()], Scores({2: 0.7})).turns == 0  # Not surely a face.
    assert find_upright([marked()], Scores({0: 0.91, 2: 0.99})).turns == 0
    assert find_upright([marked()], Scores({2: 0.9}, roll=math.radians(60))).turns == 0


def test_roll() -> None:
    right, left = np.array([40.0, 50.0]), np.array([60.0, 50.0])
    assert face_roll(right, left, np.array([50.0, 80.0])) == 0
    assert face_roll(right, left, np.array([20.0, 50.0])) == pytest.approx(math.pi / 2)
    assert abs(face_roll(right, left, np.array([50.0, 20.0]))) == pytest.approx(math.pi)
