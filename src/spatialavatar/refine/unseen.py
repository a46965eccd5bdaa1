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

HIDDEN_SHARE = 0.04
"""Share of the blend weight it would have alone, below which a Gaussian only shines through what hides it."""


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
    refined: LocalGaussians,
    start: LocalGaussians,
    confidence: Tensor,
    graph: SurfaceGraph,
    stiffness: float = 0.02,
) -> LocalGaussians:
    """Let Gaussians with little evidence of their own take their neighbours' colours and go back to the start's shape.

    Shape is not continued over the surface as colour is: what the edge of the seen part learns (a sleeve pulled
    outwards by centimetres) would push hidden Gaussians into sight of the very frames that were fitted.

    Args:
        refined, start: After and before refinement, same order.
        confidence: (N,) in 0..1, how far each Gaussian stands on its own evidence.
        graph: Neighbours.
        stiffness: Against a confidence of 1; small, so that Gaussians in plain sight keep what they learned.
    """
    filled = smooth_fill(refined.colors, confidence.square(), graph, stiffness)
    confidence = confidence[:, None]
    # Half-turns apart two quaternions mean the same ellipsoid, and do not average: the nearer end is taken whole.
    keep = confidence > 0.5
    return LocalGaussians(
        positions=torch.lerp(start.positions, refined.positions, confidence),
        quaternions_wxyz=torch.where(keep, refined.quaternions_wxyz, start.quaternions_wxyz),
        log_scales=torch.where(keep, refined.log_scales, start.log_scales),
        opacity_logits=torch.lerp(start.opacity_logits, refined.opacity_logits, confidence[:, 0]),
        colors=torch.lerp(filled, refined.colors, confidence),
    )
