"""Streams draw what `Avatar.render` draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spatialavatar import _native
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from tests.avatar.test_residual import random_residual
from tests.synthetic import painted_avatar


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return painted_avatar()


def motions(avatar: Avatar, count: int = 3) -> Motion:
    motion = Motion.neutral(count, avatar.head.num_expressions)
    motion.expression[:, 5] = torch.linspace(0, 1, count)
    motion.neck_rotation[:, 1] = torch.linspace(-0.3, 0.3, count)
    return replace(motion, translation=avatar.rest.translation.expand(count, 3).contiguous())


@pytest.mark.parametrize("background", [(0.2, 0.6, 1.0), None])
@pytest.mark.parametrize("residual", [False, True])
def test_a_stream_draws_what_render_draws(
    avatar: Avatar, background: tuple[float, float, float] | None, residual: bool
) -> None:
    if residual:
        avatar = replace(avatar, residual=random_residual(len(avatar)))
    camera, motion = avatar.default_camera(96), motions(avatar)
    pictures = avatar.stream(camera, background).batch(motion)
    for index in range(len(motion)):
        color = None if background is None else torch.tensor(background)
        expected = (avatar.render(motion[index], camera, color).clamp(0, 1) * 255).round()
        seen = expected[..., 3] > 3 if background is None else torch.ones(96, 96, dtype=torch.bool)
        difference = (pictures[index].float() - expected).abs()[seen]
        # A step of a byte where both round; where a pixel is hardly covered, straight colours divide by almost 0.
        assert difference.max() <= 1 and (difference > 0).float().mean() < 0.01


def test_frames_share_a_buffer_and_results_do_not_depend_on_threads(avatar: Avatar) -> None:
    stream, motion = avatar.stream(avatar.default_camera(80)), motions(avatar)
    before, copies, places = _native.threads(), [], set()
    try:
        for count in (1, 3):
            _native.set_threads(count)
            copies.append([picture.clone() for picture in stream.frames(motion)])
    finally:
        _native.set_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*copies, strict=True))
    for picture in stream.frames(motion[index] for index in range(3)):
        places.add(picture.data_ptr())
    assert len(places) == 1 and torch.equal(picture, copies[0][2])
    assert torch.equal(stream.draw(), stream.draw(avatar.rest))


def test_a_stream_follows_its_camera_and_draws_where_it_is_told(avatar: Avatar) -> None:
    stream = avatar.stream(avatar.default_camera(64))
    turned = avatar.default_camera(48, yaw=0.5)
    stream.look_from(turned)
    out = np.zeros((48, 48, 4), dtype=np.uint8)
    drawn = stream.draw(out=out)
    assert out.any() and drawn.data_ptr() == out.ctypes.data
    assert np.array_equal(out, avatar.stream(turned).draw().numpy())


def test_bad_input_is_named(avatar: Avatar) -> None:
    stream = avatar.stream(avatar.default_camera(64))
    with pytest.raises(ValueError, match=r"out must be contiguous uint8 of shape \(64, 64, 4\)"):
        stream.draw(out=torch.zeros(64, 64, 3, dtype=torch.uint8))
    with pytest.raises(UserError, match="one frame is posed at a time"):
        stream.draw(motions(avatar))
    with pytest.raises(ValueError, match="with fx, fy > 0"):
        camera = avatar.default_camera(64)
        stream.look_from(replace(camera, intrinsics=-camera.intrinsics))
