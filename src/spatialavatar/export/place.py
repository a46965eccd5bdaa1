"""Which pose is exported, and where it stands in other programs' worlds."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.framing import head_centers
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import multiply_quaternions_wxyz
from spatialavatar.splat.gaussians import WorldGaussians


def posed(avatar: Avatar, motion: Motion | None = None, *, centered: bool = True) -> WorldGaussians:
    """The Gaussians of one frame.

    Args:
        motion: One frame; the resting one if None.
        centered: Put the resting head's centre at the origin, where viewers look. Otherwise the avatar stands where
            its own camera saw it.
    """
    with torch.no_grad():
        gaussians = avatar.pose(avatar.rest if motion is None else motion).detach()
        if not centered:
            return gaussians
        center = head_centers(avatar.head, avatar.identity, avatar.rest)[0]
        return replace(gaussians, positions=gaussians.positions - center)


def y_down(gaussians: WorldGaussians) -> WorldGaussians:
    """The same Gaussians with y down and z away from the viewer, as photogrammetry has them: half a turn about x."""
    half_turn: Tensor = gaussians.quaternions_wxyz.new_tensor([0.0, 1.0, 0.0, 0.0])
    return replace(
        gaussians,
        positions=gaussians.positions * gaussians.positions.new_tensor([1.0, -1.0, -1.0]),
        quaternions_wxyz=multiply_quaternions_wxyz(half_turn, gaussians.quaternions_wxyz),
    )
