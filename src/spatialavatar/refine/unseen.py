"""What to do with Gaussians that the training frames do not show (ours; design of `hold_unseen`).

Adam divides by the gradient's own size, so a Gaussian that contributes a thousandth of a pixel takes steps as long as
one in plain sight: sides and back of the head turn to speckle that no training frame punishes. Here each Gaussian's
contribution to the training frames is measured; those that contribute nothing are not moved by gradients at all, and
at the end every colour follows its neighbours on the surface, as far as its own evidence is weak.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import SurfaceGraph, smooth_fill
from spatialavatar.sequence.validate import project
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.constants import DILATION
from spatialavatar.splat.cpu import blend_weights
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render


def contributions(world: WorldGaussians, camera: Camera) -> Tensor:
    """(N,) how much of each Gaussian one view shows; see `shown_and_spilt`."""
    nobody = torch.zeros(camera.height, camera.width, dtype=torch.bool, device=world.positions.device)
    return shown_and_spilt(world, camera, nobody)[0]


def shown_and_spilt(world: WorldGaussians, camera: Camera, nobody: Tensor) -> tuple[Tensor, Tensor]:
    """What one view shows of each Gaussian, and what of it falls where nobody is.

    Args:
        nobody: (H, W) bool.

    Returns:
        (N,) how much of each Gaussian one view shows, 0 to about 1: its blend weight summed over the pixels, over what
        it would be if the Gaussian lay alone and flat before the camera; and (N,) its blend weight summed over the
        pixels where nobody is.

    Hidden Gaussians get next to nothing (surfaces are never quite opaque), those seen at a slant their foreshortening.
    """
    lone = world.detach()
    by_kernel = lone.positions.device.type == "cpu" and lone.positions.dtype == torch.float32
    everywhere, outside = (blend_weights if by_kernel else weights_by_render)(lone, camera, nobody)
    pose = camera.camera_from_world
    pixels_per_metre = camera.intrinsics[0, 0] / (lone.positions @ pose[2, :3] + pose[2, 3]).clamp_min(1e-3)
    widest = (lone.scales.topk(2, dim=1).values * pixels_per_metre[:, None]).square() + DILATION
    alone = (2 * math.pi * lone.opacities * widest.prod(1).sqrt()).clamp_min(1e-6)
    return everywhere / alone, outside


def weights_by_render(world: WorldGaussians, camera: Camera, nobody: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) each Gaussian's blend weight summed over all pixels, and (N,) over those where nobody is, (H, W) bool.

    An image is linear in the colours, so the gradient of its sum with respect to a one-channel colour is that sum.
    `splat.cpu.blend_weights` is the same in one pass forwards.
    """
    ones = torch.ones(len(world), 2, device=world.positions.device, dtype=world.positions.dtype, requires_grad=True)
    painted = WorldGaussians(world.positions, world.quaternions_wxyz, world.scales, world.opacities, ones)
    with torch.enable_grad():
        image = render(painted, camera).image
        (gradient,) = torch.autograd.grad(image[..., 0].sum() + image[..., 1][nobody].sum(), ones)
    return gradient[:, 0], gradient[:, 1]


def stands_outside(world: WorldGaussians, camera: Camera, nobody: Tensor) -> Tensor:
    """(N,) bool: Gaussians whose centre falls on a pixel where nobody is, hidden or not.

    There the picture says that nothing may be drawn, of every Gaussian alike: without this, layers that lie behind
    each other would become "seen" only one after the other, as the one before has faded.

    Args:
        nobody: (H, W) bool.
    """
    pixels, depth = project(world.positions.detach(), camera.camera_from_world, camera.intrinsics)
    column, row = pixels.floor().long().unbind(-1)
    inside = (depth > 1e-3) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    found = nobody[row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1)]
    return inside & found


def evidence(per_frame: list[Tensor]) -> Tensor:
    """(N,) each Gaussian's contribution in the better of its frames: the mean of its three largest.

    One grazing glimpse among hundreds of frames is not evidence of shape, a handful of good views is.
    """
    stacked = torch.stack(per_frame)
    return stacked.topk(min(3, len(per_frame)), dim=0).values.mean(0)


def follow_neighbours(
    refined: LocalGaussians,
    start: LocalGaussians,
    seen: Tensor,
    confidence: Tensor,
    graph: SurfaceGraph,
    stiffness: float = 0.02,
    keep_guess: bool = False,
) -> LocalGaussians:
    """Let colours with little evidence follow their neighbours, and unseen shapes keep the start.

    Where the start's colours are a guess worth keeping (`keep_guess`), only the change since the start is continued:
    what was made up for the back of the head, hair and not the skin beside it, stays.

    Shape is not continued over the surface as colour is: what the edge of the seen part learns (a sleeve pulled
    outwards by centimetres) would push hidden Gaussians into sight of the very frames that were fitted. And those at
    the rim, seen at a slant in every frame, are what draws the outline: they keep their shape and lose only their
    speckle.

    Args:
        refined, start: After and before refinement, same order.
        seen: (N,) bool, whose shape was learned.
        confidence: (N,) in 0..1, how far each Gaussian's colour stands on its own evidence.
        graph: Neighbours.
        keep_guess: Whether the start, a generator's, knows better than the neighbours what nobody saw. Pictures laid on
            the head do not: behind an ear they show the background.
        stiffness: Against a confidence of 1; small, so that Gaussians in plain sight keep what they learned.
    """
    base = start.colors if keep_guess else torch.zeros_like(start.colors)
    filled = (base + smooth_fill(refined.colors - base, confidence.square(), graph, stiffness)).clamp(0, 1)
    keep = seen[:, None]
    return LocalGaussians(
        positions=torch.where(keep, refined.positions, start.positions),
        quaternions_wxyz=torch.where(keep, refined.quaternions_wxyz, start.quaternions_wxyz),
        log_scales=torch.where(keep, refined.log_scales, start.log_scales),
        opacity_logits=torch.where(seen, refined.opacity_logits, start.opacity_logits),
        colors=torch.lerp(filled, refined.colors, confidence[:, None]),
    )
