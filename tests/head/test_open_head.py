import dataclasses

import pytest
import torch

from spatialavatar.head import load_head, load_open_head
from spatialavatar.head.rig import JAW, LEFT_EYE, NECK, RIGHT_EYE, ROOT

# Apple's names for its face anchors' blend shapes, without the tongue's own case: 52 in all.
ARKIT = """
browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight
eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight eyeLookOutLeft
eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft
jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel mouthLeft
mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker mouthRight mouthRollLower
mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft mouthSmileRight mouthStretchLeft mouthStretchRight
mouthUpperUpLeft mouthUpperUpRight noseSneerLeft noseSneerRight tongueOut
""".split()


@pytest.fixture(scope="module")
def head():
    return load_open_head()


def posed(head, **fields):
    motion = head.neutral_motion()
    values = {name: torch.tensor([value], dtype=torch.float32) for name, value in fields.items()}
    return head.pose(torch.zeros(0), dataclasses.replace(motion, **values))[0]


def express(head, **weights):
    expression = torch.zeros(1, 52)
    for name, weight in weights.items():
        expression[0, head.expression_names.index(name)] = weight
    return head.pose(torch.zeros(0), dataclasses.replace(head.neutral_motion(), expression=expression))[0]


def part(head, name):
    return torch.unique(head.faces[head.part_faces(name)])


def test_counts_and_names(head):
    assert sorted(head.expression_names) == sorted(ARKIT) and len(ARKIT) == 52
    assert (head.num_vertices, head.num_faces, head.num_identities) == (5302, 10440, 80)
    assert head.joint_parents == (-1, 0, 1, 1, 1)
    assert head.edition.startswith("open-head-1-") and len(head.edition) == len("open-head-1-") + 12
    assert load_head("open") is head


def test_it_is_a_proper_rig(head):
    assert (head.skinning_weights >= 0).all()
    # Stored as 16-bit fractions.
    torch.testing.assert_close(head.skinning_weights.sum(dim=1), torch.ones(5302), rtol=0, atol=1e-5)
    torch.testing.assert_close(head.joint_regressor.sum(dim=1), torch.ones(5), rtol=0, atol=1e-5)
    assert head.faces.min() == 0 and head.faces.max() == 5301 and len(torch.unique(head.faces)) == 5302
    a, b, c = head.template[head.faces].unbind(dim=1)
    assert torch.linalg.cross(b - a, c - a).norm(dim=1).min() > 0


def test_it_is_life_sized_and_faces_forward(head):
    skin = head.template[part(head, "skin")]
    eyes = head.rig.joint_template[[LEFT_EYE, RIGHT_EYE]]
    assert 0.05 < (eyes[0, 0] - eyes[1, 0]) < 0.07, "the left eye is at positive x, 5 to 7 cm from the right"
    nose = skin[skin[:, 2].argmax()]
    assert abs(nose[0]) < 0.002 and nose[1] < eyes[0, 1]
    assert 0.16 < skin[:, 1].max() - head.template[part(head, "lower_teeth")][:, 1].min() < 0.22
    joints = head.rig.joint_template
    assert joints[ROOT, 1] < joints[NECK, 1] < joints[JAW, 1] < joints[LEFT_EYE, 1]


def test_everything_is_symmetric(head):
    mirror, flip = head.mirror_vertices, torch.tensor([-1.0, 1, 1])
    assert (mirror[mirror] == torch.arange(5302)).all()
    assert (head.template[mirror] * flip == head.template).all()
    names = list(head.expression_names)
    for index, name in enumerate(names):
        twin = name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")
        mirrored = head.expression_basis[names.index(twin)][:, :][mirror] * flip
        # Half precision, rounded on either side alike.
        torch.testing.assert_close(head.expression_basis[index], mirrored, rtol=0, atol=1e-7)
    mirrored = head.identity_basis[:, mirror] * flip
    even = (mirrored - head.identity_basis).abs().amax(dim=(1, 2))
    odd = (mirrored + head.identity_basis).abs().amax(dim=(1, 2))
    # Each component is either symmetric or antisymmetric, to half a unit of float16 at 4 cm.
    assert (torch.minimum(even, odd) < 4e-5).all() and (even < 4e-5).sum() > 40
    turned = {frozenset(face) for face in mirror[head.faces].tolist()}
    assert turned == {frozenset(face) for face in head.faces.tolist()}


def test_jaw_rotation_opens_the_mouth(head):
    rest, opened = head.template, posed(head, jaw_rotation=[0.3, 0.0, 0.0])
    lower, upper = part(head, "lower_teeth"), part(head, "upper_teeth")
    assert (opened[lower, 1] < rest[lower, 1] - 0.005).all()
    torch.testing.assert_close(opened[upper], rest[upper], rtol=0, atol=1e-6)
    chin = rest[:, 1].sub(-0.09).abs().add(rest[:, 0].abs()).add((rest[:, 2] - 0.05).abs()).argmin()
    assert opened[chin, 1] < rest[chin, 1] - 0.02


def test_jaw_open_expression_opens_the_mouth_as_well(head):
    lower = part(head, "lower_teeth")
    assert (express(head, jawOpen=1.0)[lower, 1] < head.template[lower, 1] - 0.007).all()


@pytest.mark.parametrize(("name", "joint", "slot"), [("left_eye", LEFT_EYE, 0), ("right_eye", RIGHT_EYE, 3)])
def test_eyes_turn_in_place(head, name, joint, slot):
    rotation = [0.0] * 6
    rotation[slot : slot + 3] = [0.3, 0.4, 0.0]
    turned, ball = posed(head, eyes_rotation=rotation), part(head, name)
    centre = head.rig.joint_template[joint]
    radii = (head.template[ball] - centre).norm(dim=1)
    # A sphere of 14 to 16 mm, turned about its centre; its tilt with the face is linear, which costs 0.1 mm.
    assert radii.min() > 0.014 and radii.max() < 0.016 and radii.max() - radii.min() < 1e-4
    torch.testing.assert_close((turned[ball] - centre).norm(dim=1), radii, rtol=0, atol=1e-6)
    pupil = ball[0]
    assert turned[pupil, 1] < head.template[pupil, 1] - 0.003, "positive x looks down"
    assert turned[pupil, 0] > head.template[pupil, 0] + 0.003, "positive y looks to the subject's left"
    others = torch.tensor(sorted(set(range(5302)) - set(ball.tolist())))
    torch.testing.assert_close(turned[others], head.template[others], rtol=0, atol=1e-6)


def test_expressions_leave_eyeballs_and_joints_alone(head):
    for name in ("left_eye", "right_eye"):
        assert (head.expression_basis[:, part(head, name)] == 0).all()
    assert head.rig.joint_expression_basis.abs().max() == 0


def test_shoulders_stay_when_the_head_turns(head):
    turned = posed(head, neck_rotation=[0.0, 0.5, 0.0])
    moved = (turned - head.template).norm(dim=1)
    # Half a radian pulls at the skin of the collar bones, less and less downwards.
    assert moved[head.template[:, 1] < -0.17].max() < 6e-3
    assert moved[head.template[:, 1] < -0.20].max() < 2e-3
    face = part(head, "upper_teeth")
    assert moved[face].min() > 0.03


def test_blinking_closes_the_left_eye_only(head):
    shut = express(head, eyeBlinkLeft=1.0)
    moved = (shut - head.template).norm(dim=1)
    assert moved[head.template[:, 0] > 0].max() > 0.008
    assert moved[head.template[:, 0] < -0.006].max() < 1e-6


def test_random_people_stay_people(head):
    """Eyes stay round, nobody's face folds over, nobody grows by more than a tenth."""
    generator = torch.Generator().manual_seed(0)
    front = head.template[part(head, "skin")]
    height = front[:, 1].max() - head.template[part(head, "lower_teeth")][:, 1].min()
    for _ in range(20):
        prepared = head.prepare_identity(torch.randn(80, generator=generator))
        for name, joint in (("left_eye", LEFT_EYE), ("right_eye", RIGHT_EYE)):
            # The tilt with the face is linear in the components.
            radii = (prepared.shaped_template[part(head, name)] - prepared.joints[joint]).norm(dim=1)
            assert radii.min() > 0.012 and radii.max() < 0.018 and radii.max() - radii.min() < 3e-4
        shaped = prepared.shaped_template[part(head, "skin")]
        grown = shaped[:, 1].max() - prepared.shaped_template[part(head, "lower_teeth")][:, 1].min()
        assert abs(grown / height - 1) < 0.2
