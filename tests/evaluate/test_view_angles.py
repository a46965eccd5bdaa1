import math

import pytest
import torch

from spatialavatar.evaluate.view_angles import BAND_NAMES, BEYOND, band_of, nearest_angles, view_directions
from spatialavatar.head.motion import Motion


def direction(yaw: float, pitch: float = 0.0) -> list[float]:
    yaw, pitch = math.radians(yaw), math.radians(pitch)
    return [math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)]


@pytest.mark.parametrize(
    ("angle", "band"),
    [
        (0.0, "0-15"),
        (14.99, "0-15"),
        (15.0, "15-30"),
        (30.0, "30-45"),
        (59.9, "45-60"),
        (60.0, "60-90"),
        (90.0, "60-90"),
    ],
)
def test_every_angle_lies_in_one_band(angle: float, band: str) -> None:
    assert band in BAND_NAMES
    assert band_of(angle) == band


def test_beyond_the_last_band_and_below_the_first() -> None:
    assert band_of(90.1) == BEYOND
    with pytest.raises(ValueError):
        band_of(-1.0)
    with pytest.raises(ValueError):
        band_of(math.nan)


def test_the_angle_is_that_to_the_nearest_filmed_view() -> None:
    filmed = torch.tensor([direction(-20.0), direction(0.0), direction(25.0)])
    looked_at = torch.tensor([direction(40.0), direction(-60.0), direction(1.0), direction(0.0, 30.0)])
    # float32 directions: measured 2e-6 degrees.
    torch.testing.assert_close(
        nearest_angles(looked_at, filmed), torch.tensor([15.0, 40.0, 1.0, 30.0], dtype=torch.float64), atol=6e-6, rtol=0
    )


def test_a_head_that_turns_to_the_camera_is_seen_from_the_front() -> None:
    motion = Motion.neutral(3, 4)
    turn = math.radians(30.0)
    motion.neck_rotation[1, 1] = turn
    motion.global_rotation[2, 1] = turn
    center = torch.tensor([[0.1, 0.2, 0.3]]).expand(3, 3)
    camera = center[0] + torch.tensor(direction(30.0)) * 0.8
    seen = view_directions(motion, center, camera)
    torch.testing.assert_close(seen, torch.tensor([direction(30.0), direction(0.0), direction(0.0)]), atol=1e-6, rtol=0)
