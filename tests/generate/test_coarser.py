"""Fewer Gaussians on a coarser layout: the same head to the eye, in any pose."""

from dataclasses import replace

import torch

from spatialavatar.generate.coarser import on_layout
from spatialavatar.generate.feed_forward import generate_avatar
from spatialavatar.head.uv import build_uv_layout
from tests.generate.small import layout, person, small_generator


def test_the_same_picture_from_fewer_gaussians() -> None:
    made = person().avatar
    coarse = on_layout(made, build_uv_layout(made.head, 36))
    assert len(coarse) < 0.7 * len(made)
    camera = made.default_camera(48)
    before, after = made.render(camera=camera), coarse.render(camera=camera)
    inside = before[..., 3] > 0.9
    # Colours are smooth and means of four; opacities the same: a few hundredths at most in the mean.
    assert float((before - after)[inside].abs().mean()) < 0.03
    assert on_layout(made, layout()) is made


def test_the_residual_head_comes_along() -> None:
    avatar = generate_avatar(person().sequence, small_generator(trained=True), [0])
    coarse = on_layout(avatar, build_uv_layout(avatar.head, 36))
    motion = replace(avatar.head.neutral_motion(), expression=torch.full((1, avatar.head.num_expressions), 0.2))
    assert coarse.residual is not None and len(coarse.residual) == len(coarse)
    assert not torch.equal(coarse.local(motion).colors, coarse.gaussians.colors)
