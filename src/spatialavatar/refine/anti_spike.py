"""What keeps Gaussians from turning into needles beside L_aspect (`splat.aspect`): hard clamps (§3.3, Tab. 9)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.uv import UVLayout
from spatialavatar.refine.config import AntiSpike


def scale_range(footprint: Tensor, inside: Tensor, settings: AntiSpike) -> tuple[Tensor, Tensor]:
    """Smallest and largest log-scale of each Gaussian, (N,) and (N,).

    Args:
        footprint: (N,) size of the UV pixel in its triangle, in units of the triangle's scale.
        inside: (N,) bool: what lies inside the head, teeth and tongue and eyes, and has no room to grow.
        settings: The multiples of the footprint.
    """
    largest = torch.where(inside, settings.maximum_inside, settings.maximum_scale)
    return (footprint * settings.minimum_scale).log(), (footprint * largest).log()


def inside_the_head(head: Head, layout: UVLayout) -> Tensor:
    """(N,) bool: every part but the skin, which is the body's and the hair's as well."""
    parts = head.part_of_face[layout.triangles]
    return parts != head.part_names.index("skin")


def clamp_log_scales_(log_scales: Tensor, bounds: tuple[Tensor, Tensor], settings: AntiSpike) -> None:
    """Clamp log-scales in place: first into an absolute range, then each Gaussian's spread about its mean.

    Args:
        log_scales: (N, 3), triangle-local; changed in place.
        bounds: Of `scale_range`.
        settings: The spread.
    """
    low, high = bounds
    log_scales.copy_(torch.minimum(torch.maximum(log_scales, low[:, None]), high[:, None]))
    mean = log_scales.mean(1, keepdim=True)
    spread = log_scales.amax(1, keepdim=True) - log_scales.amin(1, keepdim=True)
    factor = settings.spread / spread.clamp_min(settings.spread)
    log_scales.sub_(mean).mul_(factor).add_(mean)


def own_aspect_loss(log_scales: Tensor, footprint: Tensor, settings: AntiSpike) -> Tensor:
    """L_aspect as seen from the side where a Gaussian is thinnest: mean of ReLU(log(longest / shortest) - tau) (ours).

    Eq. 4 looks from the target's camera, and from there a disc that faces it is round however flat it is. In the video
    of one camera nobody ever looks from the side.

    Args:
        log_scales: (N, 3), triangle-local.
        footprint: (N,) size of the UV pixel in its triangle, in units of the triangle's scale.
        settings: Its `own_aspect_threshold` is tau. An axis shorter than the clamp's `minimum_scale` counts as that
            long: what is so thin has no shape, and to forbid it is the clamp's part.
    """
    shortest = (footprint * settings.minimum_scale).log()[:, None]
    floored = torch.maximum(log_scales, shortest)
    return torch.relu(floored.amax(1) - floored.amin(1) - settings.own_aspect_threshold).mean()


def world_aspects(log_scales: Tensor) -> Tensor:
    """Longest over shortest axis of each Gaussian, (N,). The triangle's scale cancels, so local scales serve."""
    return (log_scales.amax(1) - log_scales.amin(1)).exp()


def aspect_figures(log_scales: Tensor) -> dict[str, Any]:
    """What a report says of `world_aspects`: the largest, and some quantiles."""
    aspects = world_aspects(log_scales)
    return {
        "max_aspect": round(float(aspects.max()), 2),
        "aspect_quantiles": {str(share): round(float(aspects.quantile(share)), 2) for share in (0.5, 0.99, 0.999)},
    }
