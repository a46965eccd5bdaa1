"""Driving: what an avatar takes from a recording, and what stays its own."""

from dataclasses import fields, replace

import pytest
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.framing import head_rotation
from spatialavatar.drive.recording import ARKIT_NAMES, Recording, recording_of_sequence
from spatialavatar.drive.retarget import exactly, retarget, translate_expressions
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.sequence import TrackedSequence
from tests.synthetic import painted_avatar


def swaying(frames: int = 7, expressions: int = 52, seed: int = 0) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    neutral = Motion.neutral(frames, expressions)
    return Motion(
        **{f.name: 0.2 * torch.randn(getattr(neutral, f.name).shape, generator=generator) for f in fields(Motion)}
    )


def recorded(avatar: Avatar, motion: Motion) -> Recording:
    """The motion as if tracked in front of the avatar's first camera, a little off the middle of the picture."""
    camera, count = painted_avatar(16).default_camera(64), len(motion)
    sequence = TrackedSequence(
        head_edition=avatar.head.edition,
        identity=avatar.identity,
        motion=motion,
        camera_from_world=camera.camera_from_world.expand(count, 4, 4),
        intrinsics=camera.intrinsics.expand(count, 3, 3),
        width=64,
        height=64,
        frame_rate=25.0,
        names=tuple(map(str, range(count))),
    )
    return recording_of_sequence(sequence, avatar.head, "someone.tracked")


def framed(motion: Motion) -> Avatar:
    """An avatar whose rest is that of a tracked person."""
    made = painted_avatar(16)
    camera, count = made.default_camera(64), len(motion)
    cameras, intrinsics = camera.camera_from_world.expand(count, 4, 4), camera.intrinsics.expand(count, 3, 3)
    return made.framed_like(motion, cameras, intrinsics, 64, 64)


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return framed(swaying())


def test_its_own_recording_moves_it_as_it_was_tracked(avatar: Avatar) -> None:
    motion = swaying()
    driven = retarget(recorded(avatar, motion), avatar)
    # 5e-6: five float32 products of rotations.
    for name in ("expression", "neck_rotation", "global_rotation", "jaw_rotation", "eyes_rotation"):
        torch.testing.assert_close(getattr(driven, name), getattr(motion, name), atol=5e-6, rtol=0, msg=name)
    torch.testing.assert_close(driven.neck_translation, motion.neck_translation, atol=2e-6, rtol=0)
    torch.testing.assert_close(driven.translation.diff(dim=0), motion.translation.diff(dim=0), atol=2e-6, rtol=0)


def test_another_body_leaves_the_skull_where_the_driver_looks(avatar: Avatar) -> None:
    recording = recorded(avatar, swaying(seed=1))
    driven = retarget(recording, avatar)
    seen_by_driver = recording.sight.mT @ head_rotation(recording.motion)
    torch.testing.assert_close(avatar.sight.mT @ head_rotation(driven), seen_by_driver, atol=5e-6, rtol=0)
    # The bend of the neck changes as the driver's does, from the avatar's own habit.
    assert not torch.allclose(driven.neck_rotation, recording.motion.neck_rotation, atol=1e-3)


def test_a_driver_at_rest_leaves_the_avatar_at_rest(avatar: Avatar) -> None:
    other = framed(swaying(seed=2))
    # The two stand in different places of their pictures and look into different cameras.
    recording = recorded(other, other.rest)
    driven = retarget(recording, avatar)
    for field in fields(Motion):
        expected = getattr(avatar.rest, field.name)
        torch.testing.assert_close(getattr(driven, field.name), expected, atol=1e-5, rtol=0, msg=field.name)


def test_relative_starts_from_the_avatar_at_rest(avatar: Avatar) -> None:
    motion = swaying(seed=3)
    driven = retarget(recorded(avatar, motion), avatar, relative=True)
    torch.testing.assert_close(head_rotation(driven)[0], avatar.sight, atol=5e-6, rtol=0)
    assert float(driven.expression[0].abs().max()) == 0
    torch.testing.assert_close(driven.expression[3], motion.expression[3] - motion.expression[0])
    torch.testing.assert_close(driven.translation[0], avatar.rest.translation[0])
    # Body and neck too: a driver who always bends the neck does not make the avatar's body lean.
    torch.testing.assert_close(driven.neck_rotation[0], avatar.rest.neck_rotation[0], atol=5e-6, rtol=0)
    torch.testing.assert_close(driven.global_rotation[0], avatar.rest.global_rotation[0], atol=5e-6, rtol=0)


def test_it_can_be_told_to_stay_in_its_place(avatar: Avatar) -> None:
    driven = retarget(recorded(avatar, swaying(seed=4)), avatar, travel=False)
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
    assert torch.equal(exactly(recorded(avatar, motion), avatar).translation, motion.translation)
    with pytest.raises(UserError, match="its cameras fit only its own head"):
        exactly(Recording(motion, ARKIT_NAMES, 30.0, None, Motion.neutral(1, 52), "table"), avatar)
