"""What to do with Gaussians that the training frames do not show (ours; design of `hold_unseen`).

Adam divides by the gradient's own size, so a Gaussian that contributes a thousandth of a pixel takes steps as long as
one in plain sight: sides and back of the head turn to speckle that no training frame punishes. Here each Gaussian's
contribution to the training frames is measured; those that contribute nothing are not moved by gradients at all, and
at the end every Gaussian follows its neighbours on the surface as far as its own evidence is weak.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import SurfaceGraph, smooth_fill
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.constants import DILATION
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render

NOTHING = 0.01
"""Blend weight, summed over pixels, in its best frame, below which a Gaussian does not take gradients."""
HIDDEN_SHARE = 0.04
"""Share of the blend weight it would have alone, below which a Gaussian only shines through what hides it."""
PLENTY = 0.10
"""Blend weight in its best frames from which on a Gaussian stands on its own evidence."""


def contributions(world: WorldGaussians, camera: Camera) -> Tensor:
    """(N,) the blend weight of each Gaussian summed over the pixels of one view; 0 where others hide it.

    An image is linear in the colours, so the gradient of its sum with respect to a one-channel colour is that sum.
    Surfaces are never quite opaque, so what shines through is told from what is seen by the share of the weight that
    the Gaussian would have alone, its opacity times the integral of its projected shape.
    """
    ones = torch.ones(len(world), 1, device=world.positions.device, requires_grad=True)
    lone = world.detach()
    detached = WorldGaussians(lone.positions, lone.quaternions_wxyz, lone.scales, lone.opacities, ones)
    with torch.enable_grad():
        rendering = render(detached, camera)
        (gradient,) = torch.autograd.grad(rendering.image.sum(), ones)
    weight = gradient[:, 0]
    xx, xy, yy = rendering.projected.covariances2d.detach().unbind(-1)
    area = 2 * math.pi * ((xx + DILATION) * (yy + DILATION) - xy * xy).clamp_min(1e-12).sqrt()
    return weight * (weight > HIDDEN_SHARE * lone.opacities * area)


def evidence(per_frame: list[Tensor]) -> Tensor:
    """(N,) each Gaussian's contribution in the better of its frames: the mean of its three largest.

    One grazing glimpse among hundreds of frames is not evidence of shape, a handful of good views is.
    """
    stacked = torch.stack(per_frame)
    return stacked.topk(min(3, len(per_frame)), dim=0).values.mean(0)


def follow_neighbours(
    refined: LocalGaussians, start: LocalGaussians, weight: Tensor, graph: SurfaceGraph, stiffness: float = 0.02
) -> LocalGaussians:
    """Blend what was learned smoothly over the surface into Gaussians with little evidence of their own.

    What is continued is the change since the start for geometry and opacity, and the colour itself; rotations of
    weak Gaussians go back to the start's, since half-turns apart they mean the same ellipsoid and do not average.

    Args:
        refined, start: After and before refinement, same order.
        weight: (N,) evidence of each Gaussian, see `evidence`.
        graph: Neighbours.
        stiffness: Against a confidence of 1; small, so that Gaussians in plain sight keep what they learned.
    """
    confidence = (weight / PLENTY).clamp(0, 1).square()
    refined_columns = torch.cat([refined.positions, refined.log_scales, refined.opacity_logits[:, None]], 1)
    start_columns = torch.cat([start.positions, start.log_scales, start.opacity_logits[:, None]], 1)
    columns = torch.cat([refined_columns - start_columns, refined.colors], 1)
    filled = smooth_fill(columns, confidence, graph, stiffness)
    # Where evidence is full nothing may change: the solve only supplies what weak Gaussians lean on.
    blended = confidence[:, None] * columns + (1 - confidence[:, None]) * filled
    geometry, colors = start_columns + blended[:, :7], blended[:, 7:]
    keep = (confidence > 0.5)[:, None]
    return LocalGaussians(
        positions=geometry[:, :3],
        quaternions_wxyz=torch.where(keep, refined.quaternions_wxyz, start.quaternions_wxyz),
        log_scales=geometry[:, 3:6],
        opacity_logits=geometry[:, 6],
        colors=colors,
    )
