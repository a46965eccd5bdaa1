"""Driving: what an avatar takes from a recording, and what stays its own."""

from dataclasses import fields, replace

import pytest
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.framing import head_rotation
from spatialavatar.drive.recording import ARKIT_NAMES, Recording, median_rest
from spatialavatar.drive.retarget import exactly, retarget, translate_expressions
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from tests.synthetic import painted_avatar


def swaying(frames: int = 7, expressions: int = 52, seed: int = 0) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    neutral = Motion.neutral(frames, expressions)
    return Motion(
        **{f.name: 0.2 * torch.randn(getattr(neutral, f.name).shape, generator=generator) for f in fields(Motion)}
    )


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    """An avatar whose rest is that of a tracked person."""
    motion = swaying()
    made = painted_avatar(16)
    camera = made.default_camera(64)
    count = len(motion)
    return made.framed_like(
        motion, camera.camera_from_world.expand(count, 4, 4), camera.intrinsics.expand(count, 3, 3), 64, 64
    )


def tracked(avatar: Avatar, motion: Motion) -> Recording:
    return Recording(
        motion, avatar.head.expression_names, 25.0, avatar.head.edition, median_rest(motion), "someone.tracked"
    )


def test_its_own_recording_moves_it_as_it_was_tracked(avatar: Avatar) -> None:
    motion = swaying()
    driven = retarget(tracked(avatar, motion), avatar)
    # 2e-6: three float32 products of rotations.
    for name in ("expression", "neck_rotation", "global_rotation", "jaw_rotation", "eyes_rotation"):
        torch.testing.assert_close(getattr(driven, name), getattr(motion, name), atol=2e-6, rtol=0, msg=name)
    torch.testing.assert_close(driven.neck_translation, motion.neck_translation, atol=2e-6, rtol=0)
    torch.testing.assert_close(driven.translation.diff(dim=0), motion.translation.diff(dim=0), atol=2e-6, rtol=0)


def test_another_body_leaves_the_skull_where_the_driver_looks(avatar: Avatar) -> None:
    motion = swaying(seed=1)
    driven = retarget(tracked(avatar, motion), avatar)
    torch.testing.assert_close(head_rotation(driven), head_rotation(motion), atol=2e-6, rtol=0)
    # The bend of the neck changes as the driver's does, from the avatar's own habit.
    assert not torch.allclose(driven.neck_rotation, motion.neck_rotation, atol=1e-3)


def test_a_driver_at_rest_leaves_the_avatar_at_rest(avatar: Avatar) -> None:
    motion = median_rest(swaying(seed=2))
    still = replace(motion, global_rotation=-motion.neck_rotation)  # upright: the two cancel
    driven = retarget(replace(tracked(avatar, still), rest=still), avatar)
    for field in fields(Motion):
        expected = getattr(avatar.rest, field.name)
        torch.testing.assert_close(getattr(driven, field.name), expected, atol=2e-6, rtol=0, msg=field.name)


def test_relative_starts_from_the_avatar_at_rest(avatar: Avatar) -> None:
    motion = swaying(seed=3)
    driven = retarget(tracked(avatar, motion), avatar, relative=True)
    torch.testing.assert_close(head_rotation(driven)[0], torch.eye(3), atol=2e-6, rtol=0)
    assert float(driven.expression[0].abs().max()) == 0
    torch.testing.assert_close(driven.expression[3], motion.expression[3] - motion.expression[0])
    torch.testing.assert_close(driven.translation[0], avatar.rest.translation[0])


def test_it_can_be_told_to_stay_in_its_place(avatar: Avatar) -> None:
    driven = retarget(tracked(avatar, swaying(seed=4)), avatar, travel=False)
    torch.testing.assert_close(driven.translation, avatar.rest.translation.expand(7, 3))


def test_expressions_are_carried_over_by_name(avatar: Avatar) -> None:
    names = ("mouthPucker", "unknown", "jawOpen")
    motion = replace(Motion.neutral(1, 3), expression=torch.tensor([[0.1, 0.2, 0.3]]))
    recording = Recording(motion, names, 30.0, None, Motion.neutral(1, 3), "table")
    carried = translate_expressions(recording, avatar.head.expression_names, avatar.head.edition)[0]
    found = {avatar.head.expression_names[i]: round(float(carried[i]), 3) for i in carried.nonzero()[:, 0].tolist()}
    assert found == {"mouthPucker": 0.1, "jawOpen": 0.3}


def test_numbered_components_of_two_editions_never_match(avatar: Avatar) -> None:
    names = tuple(f"expression_{i}" for i in range(100))
    recording = Recording(swaying(expressions=100), names, 25.0, "flame-2020", Motion.neutral(1, 100), "him")
    with pytest.raises(UserError, match="flame-2020 and the avatar those of flame-2023"):
        translate_expressions(recording, names, "flame-2023")


def test_exact_playback_needs_the_same_head(avatar: Avatar) -> None:
    motion = swaying()
    assert torch.equal(exactly(tracked(avatar, motion), avatar).translation, motion.translation)
    with pytest.raises(UserError, match="its cameras fit only its own head"):
        exactly(Recording(motion, ARKIT_NAMES, 30.0, None, Motion.neutral(1, 52), "table"), avatar)
