import dataclasses

import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.head import load_landmarks, load_open_head
from spatialavatar.head.landmarks import LEFT_IRIS, NUM_LANDMARKS, RIGHT_IRIS

NOSE_TIP, CHIN, UPPER_LIP, LOWER_LIP = 1, 152, 13, 14
RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 61, 291
RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER = 33, 133, 362, 263
RIGHT_BROW, LEFT_BROW = [70, 63, 105, 66, 107, 46, 53, 52, 65, 55], [300, 293, 334, 296, 336, 276, 283, 282, 295, 285]


@pytest.fixture(scope="module")
def head():
    return load_open_head()


@pytest.fixture(scope="module")
def landmarks(head):
    return load_landmarks(head)


@pytest.fixture(scope="module")
def points(head, landmarks):
    return landmarks.points(head.template, head.faces)


def test_all_of_mediapipes_points(landmarks):
    assert landmarks.indices.tolist() == list(range(NUM_LANDMARKS))
    torch.testing.assert_close(landmarks.barycentric.sum(dim=1), torch.ones(NUM_LANDMARKS), rtol=0, atol=1e-5)
    assert landmarks.barycentric.min() >= 0 and landmarks.weights.min() >= 0 and landmarks.weights.max() <= 1


def test_they_lie_where_a_face_has_them(points):
    assert points[NOSE_TIP, 2] > points[:, 2].quantile(0.95) and abs(points[NOSE_TIP, 0]) < 0.002
    assert points[CHIN, 1] < points[LOWER_LIP, 1] < points[UPPER_LIP, 1] < points[NOSE_TIP, 1]
    # MediaPipe's numbers count the subject's right eye first; the subject's left is positive x.
    xs = points[[RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER], 0]
    assert (xs.diff() > 0.015).all()
    assert points[RIGHT_MOUTH_CORNER, 0] < -0.015 and points[LEFT_MOUTH_CORNER, 0] > 0.015
    assert abs(points[UPPER_LIP, 1] - points[LOWER_LIP, 1]) < 0.005


def test_brows_lie_on_the_brow_bone(head, points):
    eye = head.rig.joint_template[3, 1]
    for brow in (RIGHT_BROW, LEFT_BROW):
        height = points[brow, 1] - eye
        # Hair grows 10 to 25 mm above the pupil.
        assert height.min() > 0.008 and height.max() < 0.027
        assert 0.013 < height.mean() < 0.020


def test_both_sides_mirror_each_other(points):
    face = points[:468]
    distance = torch.cdist(face * torch.tensor([-1.0, 1, 1]), face)
    # Each point has a twin within half a millimetre: both were averaged, then moved onto the surface.
    assert distance.amin(dim=1).max() < 5e-4


def test_irises_turn_with_the_eyes(head, landmarks, points):
    for first, joint, slot in ((RIGHT_IRIS, 4, 3), (LEFT_IRIS, 3, 0)):
        centre = head.rig.joint_template[joint]
        gaze = points[first] - centre
        # Straight ahead between the lids: 3.4 degrees down, as the face tilts.
        torch.testing.assert_close(gaze / gaze.norm(), torch.tensor([0.0, -0.06, 1]), rtol=0, atol=0.01)
        rim = (points[first + 1 : first + 5] - points[first]).norm(dim=1)
        # Half of an iris's 11.8 mm, on a sphere.
        assert rim.min() > 0.0055 and rim.max() < 0.0068
        eyes = torch.zeros(1, 6)
        eyes[0, slot + 1] = 0.3
        turned = head.pose(torch.zeros(0), dataclasses.replace(head.neutral_motion(), eyes_rotation=eyes))
        moved = (landmarks.points(turned, head.faces)[0] - points).norm(dim=1)
        assert moved[first] > 0.003 and moved[:468].max() < 1e-6


def test_iris_rims_go_around_as_mediapipes_do(points):
    """Towards the subject's left, up, right, down, on both eyes: seen in MediaPipe's answer for a real portrait."""
    for first in (RIGHT_IRIS, LEFT_IRIS):
        left, up, right, down = points[first + 1 : first + 5] - points[first]
        assert left[0] > 0.005 and right[0] < -0.005 and up[1] > 0.005 and down[1] < -0.005


def test_eyes_and_lips_count_more_than_the_outline(landmarks):
    weights = landmarks.weights
    lids, lips, outline = weights[[159, 145, 386, 374]], weights[[13, 14, 61, 291]], weights[[234, 454, 127, 356, 10]]
    assert lids.min() > 0.5 and lips.min() > 0.4 and outline.max() < 0.15


def test_lips_part_when_the_jaw_drops(head, landmarks):
    opened = head.pose(
        torch.zeros(0), dataclasses.replace(head.neutral_motion(), jaw_rotation=torch.tensor([[0.3, 0, 0]]))
    )
    points = landmarks.points(opened, head.faces)[0]
    assert points[UPPER_LIP, 1] - points[LOWER_LIP, 1] > 0.012


def test_only_their_own_vertices_need_posing(head, landmarks):
    needed, corners = landmarks.vertices(head.faces)
    assert len(needed) < 0.25 * head.num_vertices
    motion = dataclasses.replace(head.neutral_motion(2), jaw_rotation=torch.tensor([[0.1, 0, 0], [0.2, 0.1, 0]]))
    identity = torch.randn(80, generator=torch.Generator().manual_seed(0))
    few = landmarks.points_from_restricted(head.restrict(needed).pose(identity, motion), corners)
    torch.testing.assert_close(few, landmarks.points(head.pose(identity, motion), head.faces), rtol=0, atol=1e-6)


def test_other_heads_have_none(head):
    with pytest.raises(UserError, match="no landmark embedding"):
        load_landmarks(dataclasses.replace(head, edition="flame-123"))
