"""Gaze of weights, and eye angles that are mirrored against them."""

import math

import numpy as np
import pytest
import torch

from spatialavatar.drive.arkit import LARGEST_YAW, gaze_of_weights, unmirrored_eyes


def test_gaze_follows_the_look_shapes() -> None:
    one = torch.ones(1)
    left = gaze_of_weights({"eyeLookOutLeft": one, "eyeLookInRight": one})
    assert float(left[0, 1]) == pytest.approx(LARGEST_YAW, abs=1e-6) == float(left[0, 4])
    down = gaze_of_weights({"eyeLookDownLeft": one, "eyeLookDownRight": one})
    assert float(down[0, 0]) > math.radians(20) and float(down[0, 3]) > math.radians(20)


def columns_of_gaze(yaws: np.ndarray) -> dict[str, np.ndarray]:
    """eyeLook weights and eye angles of a gaze (T, 2: left, right; positive to the subject's left)."""
    weights = np.abs(yaws) / 0.6
    left, right = yaws.T > 0
    return {
        "eyeLookOutLeft": weights[:, 0] * left,
        "eyeLookInLeft": weights[:, 0] * ~left,
        "eyeLookInRight": weights[:, 1] * right,
        "eyeLookOutRight": weights[:, 1] * ~right,
        "leftEyeYaw": yaws[:, 0],
        "leftEyePitch": 0.1 * yaws[:, 0],
        "rightEyeYaw": yaws[:, 1],
        "rightEyePitch": 0.2 * yaws[:, 1],
    }


def test_mirrored_eye_angles_follow_the_weights() -> None:
    time = np.linspace(0, 6, 100)
    yaws = np.stack([0.2 * np.sin(time) - 0.03, 0.2 * np.sin(time) + 0.03], -1)
    sound = columns_of_gaze(yaws)
    assert unmirrored_eyes(sound) == (sound, [])
    mirrored = sound | {
        "leftEyeYaw": -sound["rightEyeYaw"],
        "rightEyeYaw": -sound["leftEyeYaw"],
        "leftEyePitch": sound["rightEyePitch"],
        "rightEyePitch": sound["leftEyePitch"],
    }
    found, notes = unmirrored_eyes(mirrored)
    assert len(notes) == 1 and all((found[name] == sound[name]).all() for name in sound)


def test_a_gaze_that_hardly_moves_tells_nothing() -> None:
    still = columns_of_gaze(np.full((50, 2), 0.1)) | {"leftEyeYaw": np.full(50, -0.1), "rightEyeYaw": np.full(50, -0.1)}
    assert unmirrored_eyes(still) == (still, [])
