"""The Avatar: posing, rendering, and how it is framed when nobody says otherwise."""

import importlib.util
import math
from dataclasses import replace

import pytest
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.framing import head_centers, head_rotation, line_of_sight, orbited, resized
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from tests.synthetic import painted_avatar


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return painted_avatar(32)


def test_a_frontal_portrait_shows_the_head_in_the_middle(avatar: Avatar) -> None:
    image = avatar.render(camera=avatar.default_camera(96), background=torch.ones(3))
    assert image.shape == (96, 96, 4)
    alpha = image[..., 3]
    assert float(alpha[48, 48]) > 0.9, "the face is where the camera looks"
    assert float(alpha[:4].max()) < 0.05, "there is room above the head"
    torch.testing.assert_close(image[0, 0, :3], torch.ones(3))


def test_without_a_background_the_colour_is_straight(avatar: Avatar) -> None:
    camera = avatar.default_camera(96)
    bare = avatar.render(camera=camera)
    white = avatar.render(camera=camera, background=torch.ones(3))
    color, alpha = bare[..., :3], bare[..., 3:]
    # Composing what was taken apart must give the same picture; float32 division by small coverage loses some digits.
    torch.testing.assert_close(color * alpha + (1 - alpha), white[..., :3], atol=2e-5, rtol=0)


def test_gradients_reach_motion_and_gaussians(avatar: Avatar) -> None:
    positions = avatar.gaussians.positions.clone().requires_grad_()
    turned = replace(avatar.rest, neck_rotation=torch.zeros(1, 3, requires_grad=True))
    moving = replace(avatar, gaussians=replace(avatar.gaussians, positions=positions))
    moving.render(turned, avatar.default_camera(48), torch.zeros(3))[..., :3].square().mean().backward()
    assert positions.grad is not None and float(positions.grad.abs().max()) > 0
    assert turned.neck_rotation.grad is not None and float(turned.neck_rotation.grad.abs().max()) > 0


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None, reason="needs an NVIDIA GPU and gsplat"
)
def test_the_gpu_draws_the_same_picture(avatar: Avatar) -> None:
    camera, motion = avatar.default_camera(96), avatar.rest
    drawn = avatar.to("cuda").render(motion, camera, torch.ones(3)).cpu()
    # 1/255: the same 8-bit picture but for rounding.
    torch.testing.assert_close(drawn, avatar.render(motion, camera, torch.ones(3)), atol=1 / 255, rtol=0)


def test_a_motion_of_another_head_or_of_many_frames_is_refused(avatar: Avatar) -> None:
    with pytest.raises(UserError, match=r"100 expressions and the head open-head.* has 52"):
        avatar.pose(Motion.neutral(1, 100))
    with pytest.raises(UserError, match="this motion has 3"):
        avatar.pose(Motion.neutral(3, 52))


def test_a_layout_of_another_head_is_refused(avatar: Avatar) -> None:
    with pytest.raises(UserError, match=r"belongs to the head flame-2023 and the avatar to open-head"):
        replace(avatar, layout=replace(avatar.layout, head_edition="flame-2023"))


def test_gaussians_of_another_layout_are_refused(avatar: Avatar) -> None:
    with pytest.raises(UserError, match=f"has {len(avatar)} Gaussians and the avatar {len(painted_avatar(16))}"):
        replace(avatar, gaussians=painted_avatar(16).gaussians)


def tracked_motion(avatar: Avatar, frames: int = 9) -> Motion:
    """A person who leans, bends the neck a little all the time, and turns from side to side."""
    time = torch.linspace(-1, 1, frames)
    motion = Motion.neutral(frames, 52)
    motion.global_rotation[:, 0] = 0.15
    motion.neck_rotation[:, 0] = -0.1
    motion.neck_rotation[:, 1] = 0.5 * time
    motion.neck_translation[:, 1] = 0.01
    return replace(motion, translation=torch.stack([0.02 * time, -0.1 + 0 * time, 0 * time], -1))


def test_the_framing_of_frames_keeps_the_source_camera_and_the_place_of_the_head(avatar: Avatar) -> None:
    motion, camera = tracked_motion(avatar), avatar.default_camera(64)
    cameras = camera.camera_from_world.expand(len(motion), 4, 4)
    framed = avatar.framed_like(motion, cameras, camera.intrinsics.expand(len(motion), 3, 3), 64, 64)
    torch.testing.assert_close(framed.default_camera(64).intrinsics, camera.intrinsics)
    torch.testing.assert_close(framed.rest.neck_translation, motion.neck_translation[:1])
    # Frame 4 looks ahead: the resting head stands where it stood there, up to float32 metres.
    there = head_centers(avatar.head, avatar.identity, motion)[4]
    here = head_centers(avatar.head, avatar.identity, framed.rest)[0]
    torch.testing.assert_close(here, there, atol=1e-5, rtol=0)


def test_the_resting_head_looks_into_the_camera_wherever_it_stands(avatar: Avatar) -> None:
    motion, camera = tracked_motion(avatar), avatar.default_camera(64)
    aside = replace(motion, translation=motion.translation + torch.tensor([0.3, 0.25, 0.0]))
    cameras = camera.camera_from_world.expand(len(motion), 4, 4)
    framed = avatar.framed_like(aside, cameras, camera.intrinsics.expand(len(motion), 3, 3), 64, 64)
    skull = head_rotation(framed.rest)[0]
    towards = camera.position - head_centers(avatar.head, avatar.identity, framed.rest)[0]
    torch.testing.assert_close(skull[:, 2], towards / towards.norm(), atol=1e-5, rtol=0)
    assert float(skull[1, 0].abs()) < 1e-6, "it does not lean to a side"
    torch.testing.assert_close(skull, framed.sight, atol=1e-5, rtol=0)


def test_the_line_of_sight() -> None:
    ahead = line_of_sight(torch.zeros(3), torch.tensor([0.0, 0.0, 2.0]))
    torch.testing.assert_close(ahead, torch.eye(3))
    up_and_left = line_of_sight(torch.zeros(3), torch.tensor([1.0, 1.0, 1.0]))
    torch.testing.assert_close(up_and_left[:, 2], torch.full((3,), 3**-0.5))
    assert float(torch.linalg.det(up_and_left)) == pytest.approx(1.0)


def test_orbiting_keeps_the_distance_and_the_pixel_of_the_target(avatar: Avatar) -> None:
    camera, target = avatar.default_camera(64), torch.tensor([0.02, -0.01, 0.03])
    moved = orbited(camera, target, math.radians(40), math.radians(20), zoom=2.0)
    assert float((moved.position - target).norm()) == pytest.approx(float((camera.position - target).norm()), abs=1e-5)
    assert float(moved.position[0]) > 0.1, "a positive yaw moves the camera to the subject's left, which is +x"
    assert float(moved.position[1]) > float(target[1]), "a positive pitch moves it up"

    def pixel(view: object) -> torch.Tensor:
        point = view.camera_from_world[:3, :3] @ target + view.camera_from_world[:3, 3]  # type: ignore[attr-defined]
        projected = view.intrinsics @ point  # type: ignore[attr-defined]
        return projected[:2] / projected[2]

    # 1e-3 px: float32 at coordinates of 64.
    torch.testing.assert_close(pixel(moved), pixel(camera), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [64, 65, 201])
def test_resized_sides_are_even(avatar: Avatar, size: int) -> None:
    wide = replace(avatar.default_camera(100), width=160)
    resized_camera = resized(wide, size)
    assert resized_camera.width % 2 == 0 and resized_camera.height % 2 == 0
    assert abs(resized_camera.width - size) <= 1
