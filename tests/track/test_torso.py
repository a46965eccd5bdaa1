"""Registration of torsos that were moved by a known amount."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from spatialavatar.track.torso import distance_outside, torso_motion, torso_view


def frame(x: float, y: float, degrees: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A patterned torso below a head; moved by x, y pixels and turned about (128, 250)."""
    generator = np.random.default_rng(3)
    pattern = cv2.GaussianBlur(generator.uniform(0, 255, (400, 400, 3)).astype(np.float32), (0, 0), 6)
    pattern = np.clip((pattern - 127) * 8 + 127, 0, 255).astype(np.uint8)
    solid = np.zeros((400, 400), np.uint8)
    solid[220:400, 100:300] = 255
    matrix = cv2.getRotationMatrix2D((200, 320), degrees, 1.0)
    matrix[:, 2] += (x - 72, y - 72)
    image = cv2.warpAffine(pattern, matrix, (256, 256), borderMode=cv2.BORDER_REFLECT)
    matte = cv2.warpAffine(solid, matrix, (256, 256))
    landmarks = np.full((478, 2), 128.0, np.float32)
    landmarks[10, 1], landmarks[152, 1] = 40, 140
    return image, matte, landmarks


def test_motion_is_recovered() -> None:
    moves = [(0.0, 0.0), (1.5, -0.5), (3.0, 0.5), (4.0, 1.0)]
    views = tuple(torso_view(*frame(x, y)) for x, y in moves)
    maps = torso_motion(views, 256, reference=1)
    assert maps is not None
    for k, (x, y) in enumerate(moves):
        wanted = np.array([128.0 + x - 1.5, 220.0 + y + 0.5])
        # Views have half the resolution: a quarter of a pixel of theirs.
        assert np.abs(maps[k] @ np.array([128.0, 220.0, 1.0]) - wanted).max() < 0.5


def test_turning_is_recovered() -> None:
    views = tuple(torso_view(*frame(0, 0, degrees)) for degrees in (0.0, 2.0))
    maps = torso_motion(views, 256, reference=0)
    assert maps is not None
    # OpenCV's positive angle turns counter-clockwise on the screen, where y points down.
    assert np.degrees(np.arctan2(maps[1, 1, 0], maps[1, 0, 0])) == pytest.approx(-2.0, abs=0.3)


def test_what_cannot_be_registered_stays() -> None:
    flat = np.full((256, 256, 3), 90, np.uint8)
    landmarks = frame(0, 0)[2]
    views = tuple(torso_view(flat, np.full((256, 256), 255, np.uint8), landmarks) for _ in range(2))
    assert torso_motion(views, 256, reference=0) is None


def test_distance_outside_the_matte() -> None:
    image, matte, landmarks = frame(0, 0)
    distance = distance_outside(torso_view(image, matte, landmarks), 256)
    assert distance[100, 64] == 0
    assert distance[0, 64] == pytest.approx(148, abs=6)  # From the top to the torso's edge, in pixels of the frame.
