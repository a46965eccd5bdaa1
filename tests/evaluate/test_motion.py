"""AED, APD, AKD, jitter and blinks on landmarks and codes with known differences; the estimator on known faces."""

import numpy as np
import pytest
import torch

from spatialavatar.evaluate import motion
from spatialavatar.evaluate.estimator import FaceCodes, FaceEstimator, Person, default_estimator, euler_angles
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from tests.track.synthetic import SIZE, Synthetic, synthetic


def test_code_distances_are_means_and_sums() -> None:
    target = FaceCodes(np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float32))
    ours = FaceCodes(np.float32([[1, 0, -1, 0], [0, 0, 0, 0]]), np.float32([[0.3, 0, 0], [0, np.pi * 2, 0]]))
    found = motion.code_distances(ours, target, "test")
    np.testing.assert_allclose(found["aed"].values, [0.5, 0])
    np.testing.assert_allclose(found["aed_sum"].values, [2, 0])
    # Angles are floats: a whole turn is no distance but for their rounding.
    np.testing.assert_allclose(found["apd"].values, [0.1, 0], atol=1e-6)
    np.testing.assert_allclose(found["apd_sum"].values, [0.3, 0], atol=1e-6)
    assert found["aed"].id == "aed.mean.test"


def test_keypoint_distances_are_in_pixels_at_512() -> None:
    target = np.zeros((1, 10, 3), np.float32)
    ours = target + np.float32([3, 4, 100])  # depth does not count
    found = motion.keypoint_distances(ours, target, 256, "test")
    assert found["akd"].values[0] == 10 and found["akd_sum"].values[0] == 100 and found["akd_l1"].values[0] == 7


def test_a_frame_without_a_face_is_not_measured() -> None:
    target = np.zeros((2, 10, 3), np.float32)
    ours = target.copy()
    ours[0] = np.nan
    assert np.isnan(motion.keypoint_distances(ours, target, 512, "test")["akd"].values).tolist() == [True, False]


def test_jitter_sees_shaking_and_not_motion() -> None:
    frames = np.arange(20)
    target = np.zeros((20, 5, 2), np.float32)
    target[..., 0] = 3 * np.sin(frames / 2)[:, None]
    following = np.concatenate([[False], np.ones(19, bool)])
    still = motion.jitter(target + 2, target, 512, following)
    assert np.nanmax(still) < 1e-5  # a constant offset and the target's own motion, in float32
    shaken = target.copy()
    shaken[::2, :, 1] += 1
    assert np.nanmean(motion.jitter(shaken, target, 512, following)) == pytest.approx(2)
    assert np.isnan(motion.jitter(shaken, target, 512, following))[[0, -1]].all()
    following[10] = False  # a gap between frames 9 and 10
    assert np.isnan(motion.jitter(shaken, target, 512, following))[[9, 10]].all()
    assert np.isnan(motion.jitter(shaken[:2], target[:2], 512, following[:2])).all()


def blinking(shut: tuple[int, ...], frames: int = 10) -> np.ndarray:
    """Landmarks whose eyes are 30 wide and 9 high, or 1 high."""
    points = np.zeros((frames, 478, 3), np.float32)
    for corners, pairs in (
        ((33, 133), ((159, 145), (158, 153), (160, 144))),
        ((263, 362), ((386, 374), (385, 380), (387, 373))),
    ):
        points[:, corners[1], 0] = 30
        for upper, lower in pairs:
            points[:, upper, 1] = 0
            points[:, lower, 1] = 9
            points[list(shut), lower, 1] = 1
    return points


def test_blinks() -> None:
    target, ours = blinking((3, 4)), blinking((4, 5))
    agreement, opening, count = motion.blinks(ours, target)
    assert count == 2
    assert agreement.tolist() == [1, 1, 1, 0, 1, 0, 1, 1, 1, 1]
    assert opening[3] == pytest.approx(8 / 9, abs=1e-6) and opening[4] == 0
    lost = ours.copy()
    lost[0] = np.nan
    assert np.isnan(motion.blinks(lost, target)[0][0])
    assert np.isnan(motion.blinks(ours, np.full_like(target, np.nan))[0]).all()


def test_euler_angles_of_single_turns() -> None:
    for axis in range(3):
        turn = torch.zeros(3)
        turn[axis] = 0.4
        expected = torch.zeros(3)
        expected[axis] = 0.4
        torch.testing.assert_close(euler_angles(rotation_matrix_from_axis_angle(turn)), expected, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def measured() -> tuple[Synthetic, np.ndarray, FaceEstimator, Person, FaceCodes]:
    """Six frames of a known head, the fourth without a face, and what the estimator makes of them."""
    truth = synthetic(6)
    landmarks = truth.observations.landmarks.copy()
    landmarks[3] = np.nan
    estimator = default_estimator("exact")
    person = estimator.meet(landmarks, (SIZE, SIZE))
    assert person is not None
    return truth, landmarks, estimator, person, estimator.measure(landmarks, (SIZE, SIZE), person)


def test_the_estimator_finds_known_expressions_and_turns(measured: tuple) -> None:
    truth, _, _, _, codes = measured
    assert np.isnan(codes.expression[3]).all() and np.isnan(codes.angles[3]).all()
    seen = [0, 1, 2, 4, 5]
    jaw = codes.expression[seen, truth.head.expression_names.index("jawOpen")]
    true_jaw = truth.motion.expression[seen, truth.head.expression_names.index("jawOpen")].numpy()
    # Other expressions open the mouth as well, and the identity is the estimator's own: the order stays.
    assert np.corrcoef(jaw, true_jaw)[0, 1] > 0.97
    yaw = codes.angles[seen, 1] - codes.angles[seen, 1].mean()
    true_yaw = truth.motion.neck_rotation[seen, 1].numpy()
    np.testing.assert_allclose(yaw, true_yaw - true_yaw.mean(), atol=0.05)  # 3 degrees over a range of 40


def test_a_frame_is_measured_by_itself(measured: tuple) -> None:
    _, landmarks, estimator, person, together = measured
    alone = estimator.measure(landmarks[5:6], (SIZE, SIZE), person)
    # The optimiser stops after so many steps, and takes others for one frame than for five.
    np.testing.assert_allclose(alone.angles[0], together.angles[5], atol=0.02)
    np.testing.assert_allclose(alone.expression[0], together.expression[5], atol=0.1)
    assert np.nanmax(motion.code_distances(together, together, "x")["aed"].values) == 0


def test_nobody_is_met_where_there_is_no_face() -> None:
    assert default_estimator("exact").meet(np.full((3, 478, 3), np.nan, np.float32), (64, 64)) is None
