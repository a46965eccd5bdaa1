"""Which face is followed, and when it is lost, with finders made for the test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatialavatar.track.faces import Box, Face
from spatialavatar.track.follow import FaceFollower, find_in_photo, shifted, window_around

IMAGE = np.zeros((400, 600, 3), np.uint8)


def face_at(x: float, y: float, size: float = 60, yaw: float = 0.0) -> Face:
    """Points on a square, with iris and cheek points where the code reads them."""
    generator = np.random.default_rng(0)
    points = generator.uniform(-size / 2, size / 2, (478, 3)).astype(np.float32)
    points[0], points[1] = (-size / 2, -size / 2, 0), (size / 2, size / 2, 0)
    points[234] = (-size / 2 * np.cos(yaw), 0, -size / 2 * np.sin(yaw))
    points[454] = (size / 2 * np.cos(yaw), 0, size / 2 * np.sin(yaw))
    points += np.array([x, y, 0], np.float32)
    return Face(points)


class Script:
    """A detector and finder that see the faces they are told of, in pixels of the whole image."""

    def __init__(self, *faces: Face | None, boxes: list[Box] | None = None):
        self.faces = list(faces)
        self.extra = boxes or []
        self.detections = 0

    @property
    def current(self) -> Face | None:
        return self.faces[0] if self.faces else None

    def boxes(self, image: NDArray[np.uint8], *, thorough: bool = False) -> list[Box]:
        self.detections += 1
        own = [self.current.box] if self.current is not None else []
        return own + self.extra

    def find(self, image: NDArray[np.uint8], *, fresh: bool) -> Face | None:
        # Windows lie at the image's left upper corner in these tests, so that pixels are the same.
        return self.current

    def close(self) -> None:
        pass


def test_the_largest_face_is_chosen_and_rivals_are_counted() -> None:
    script = Script(face_at(100, 100), boxes=[Box(0, 0, 50, 50), Box(300, 0, 305, 5)])
    follower = FaceFollower(script, script)
    assert follower.step(IMAGE) is not None
    assert follower.tally.several == 2  # The third is far smaller.


def test_a_followed_face_is_not_detected_anew() -> None:
    script = Script(face_at(100, 100))
    follower = FaceFollower(script, script)
    for _ in range(10):
        assert follower.step(IMAGE) is not None
    assert script.detections == 1


def test_a_lost_face_is_found_again() -> None:
    script = Script(face_at(100, 100))
    follower = FaceFollower(script, script)
    follower.step(IMAGE)
    seen = script.faces.pop()
    assert follower.step(IMAGE) is None
    script.faces.append(seen)
    assert follower.step(IMAGE) is not None


def test_profiles_are_not_taken() -> None:
    script = Script(face_at(100, 100, yaw=1.3))
    follower = FaceFollower(script, script)
    assert follower.step(IMAGE) is None
    assert follower.tally.profiles == 1
    face, tally = find_in_photo(IMAGE, script, script)
    assert face is None and tally.profiles == 1


def test_a_detected_face_without_landmarks_is_counted() -> None:
    script = Script(None, boxes=[Box(10, 10, 60, 60)])
    assert FaceFollower(script, script).step(IMAGE) is None
    face, tally = find_in_photo(IMAGE, script, script)
    assert face is None and tally.detected == 1


def test_windows_stay_in_the_image() -> None:
    assert window_around(Box(500, 300, 600, 400), 600, 400) == (400, 200, 600, 400)
    assert window_around(Box(-50, -50, 10, 10), 600, 400)[:2] == (0, 0)


def test_a_face_found_in_an_enlarged_part_is_moved_back() -> None:
    moved = shifted(face_at(100, 100), 30, 40, scale=2.0)
    x, y = moved.box.centre
    assert abs(x - 80) < 1e-3 and abs(y - 90) < 1e-3
    assert abs(moved.box.width - 30) < 1e-3


def test_overlap_of_boxes() -> None:
    assert Box(0, 0, 10, 10).overlap(Box(0, 0, 10, 10)) == 1
    assert Box(0, 0, 10, 10).overlap(Box(20, 20, 30, 30)) == 0
    assert abs(Box(0, 0, 10, 10).overlap(Box(5, 0, 15, 10)) - 1 / 3) < 1e-9


def test_somebody_who_walks_through_is_not_followed() -> None:
    """The followed face turns away while another one is seen on the other side; then it comes back."""
    script = Script(face_at(100, 100))
    follower = FaceFollower(script, script)
    mine, other = script.faces[0], face_at(400, 120, 80)
    assert follower.step(IMAGE) is not None
    script.faces[0] = other
    assert [follower.step(IMAGE) for _ in range(10)] == [None] * 10
    assert follower.tally.others > 0
    script.faces[0] = mine
    face = follower.step(IMAGE)
    assert face is not None and face.box.centre[0] < 200 and follower.tally.returns == []


def test_landmarks_that_jump_onto_another_face_are_refused() -> None:
    """The finder sees the neighbour within the window: of another size, or too far away."""
    for other in (face_at(100, 100, 160), face_at(180, 100)):
        script = Script(face_at(100, 100))
        follower = FaceFollower(script, script)
        follower.step(IMAGE)
        script.faces[0] = other
        assert follower.step(IMAGE) is None


def test_who_comes_back_after_long_is_followed_and_told() -> None:
    script = Script(face_at(100, 100))
    follower = FaceFollower(script, script)
    follower.step(IMAGE)
    script.faces[0] = None
    for _ in range(40):
        assert follower.step(IMAGE) is None
    script.faces[0] = face_at(400, 120, 80)
    assert follower.step(IMAGE) is not None
    assert follower.tally.returns == [41]


def test_after_a_cut_the_face_may_be_anywhere() -> None:
    script = Script(face_at(100, 100))
    follower = FaceFollower(script, script)
    follower.step(IMAGE)
    script.faces[0] = face_at(400, 120, 150)
    assert follower.step(IMAGE, cut=True) is not None
    assert follower.tally.returns == [] and follower.tally.others == 0
