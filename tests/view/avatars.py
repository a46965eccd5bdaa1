"""Avatars for the viewer's tests."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.residual import Residual
from spatialavatar.head.motion import Motion
from spatialavatar.refine.config import Correctives
from spatialavatar.refine.correctives import linear_residual, motion_basis
from tests.synthetic import painted_avatar


@cache
def varied_avatar(resolution: int = 96, seed: int = 0) -> Avatar:
    """A painted avatar whose Gaussians differ in everything: shape, direction, place, opacity."""
    avatar = painted_avatar(resolution, seed)
    gaussians, count = avatar.gaussians, len(avatar)
    chance = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=chance)

    return replace(
        avatar,
        gaussians=replace(
            gaussians,
            positions=gaussians.positions + 0.2 * normal(count, 3),
            quaternions_wxyz=normal(count, 4),
            log_scales=gaussians.log_scales + 0.4 * normal(count, 3),
            opacity_logits=2 * normal(count),
            colors=(gaussians.colors + 0.1 * normal(count, 3)).clamp(0, 1),
        ),
    )


@cache
def corrected_avatar(resolution: int = 96) -> Avatar:
    """`varied_avatar` with a residual head that changes everything by a tenth or so."""
    avatar = varied_avatar(resolution)
    chance = torch.Generator().manual_seed(0)
    channels, hidden, condition = 10, 6, avatar.head.num_expressions + 12

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=chance)

    residual = Residual(
        features=some(len(avatar), channels).half().float(),
        hidden_weight=some(hidden, condition) * 0.3,
        hidden_bias=some(hidden),
        film_weight=some(8 * channels, hidden) * 0.3,
        film_bias=some(8 * channels) * 0.3,
        # Corrections of a tenth of the triangle, and of what else there is.
        weights=some(13, channels) * 0.03,
        biases=some(13) * 0.03,
    )
    return replace(avatar, residual=residual)


@cache
def avatar_with_correctives(resolution: int = 96) -> Avatar:
    """`varied_avatar` with as many correctives as refinement learns."""
    avatar, config = varied_avatar(resolution), Correctives()
    chance = torch.Generator().manual_seed(1)
    motion = Motion.neutral(200, avatar.head.num_expressions)
    motion.expression[:] = torch.rand(motion.expression.shape, generator=chance)
    basis = motion_basis(motion, config.components)
    features = 0.05 * torch.randn(len(avatar), 4 * config.components, generator=chance)
    return replace(avatar, residual=linear_residual(basis, features.half().float()))


@cache
def lit_avatar(resolution: int = 96) -> Avatar:
    """`corrected_avatar` under a strong light."""
    return replace(corrected_avatar(resolution), light=torch.tensor([0.2, 0.3, 0.15, 0.05, -0.1, 0.08, 0.1, 0.05]))


def random_motion(avatar: Avatar, frames: int, seed: int = 0) -> Motion:
    """Frames about the avatar's rest that move everything there is."""
    chance = torch.Generator().manual_seed(seed)

    def some(width: int, size: float) -> torch.Tensor:
        return size * torch.randn(frames, width, generator=chance)

    rest = avatar.rest
    return Motion(
        expression=torch.rand(frames, avatar.head.num_expressions, generator=chance) * (some(1, 1).abs() < 1) * 0.6,
        global_rotation=rest.global_rotation + some(3, 0.1),
        neck_rotation=rest.neck_rotation + some(3, 0.15),
        jaw_rotation=some(3, 0.05),
        eyes_rotation=some(6, 0.2),
        translation=rest.translation + some(3, 0.01),
        neck_translation=rest.neck_translation + some(3, 0.005),
    )
