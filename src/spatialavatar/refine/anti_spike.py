"""What keeps Gaussians from turning into needles: hard clamps and L_aspect (§3.3, Eq. 4, Tab. 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from spatialavatar.refine.config import AntiSpike


def clamp_log_scales_(log_scales: Tensor, footprint: Tensor, settings: AntiSpike) -> None:
    """Clamp log-scales in place: first into an absolute range, then each Gaussian's spread about its mean.

    Args:
        log_scales: (N, 3), triangle-local; changed in place.
        footprint: (N,) size of the UV pixel in its triangle, in units of the triangle's scale.
        settings: Range and spread.

    The spread clamp shrinks deviations from the mean by one factor per Gaussian, so ratios between axes keep
    their order; since it only moves values towards their mean, the absolute range still holds afterwards.
    """
    low = (footprint * settings.minimum_scale).log()[:, None]
    high = (footprint * settings.maximum_scale).log()[:, None]
    torch.clamp(log_scales, min=low, max=high, out=log_scales)
    mean = log_scales.mean(1, keepdim=True)
    spread = log_scales.amax(1, keepdim=True) - log_scales.amin(1, keepdim=True)
    factor = settings.spread / spread.clamp_min(settings.spread)
    log_scales.sub_(mean).mul_(factor).add_(mean)


def aspect_loss(covariances2d: Tensor, threshold: float) -> Tensor:
    """Mean over Gaussians of ReLU(1/2 log(lmax / lmin) - tau) (Eq. 4).

    Args:
        covariances2d: (N, 3) entries xx, xy, yy in squared pixels; zero rows (Gaussians behind the camera) add nothing.
        threshold: tau, the log of the aspect ratio above which a Gaussian pays.

    Returns:
        A scalar, differentiable in the covariances.
    """
    xx, xy, yy = covariances2d.unbind(-1)
    middle = 0.5 * (xx + yy)
    # The tiny term keeps the square root's gradient finite for a round Gaussian.
    half_gap = (0.25 * (xx - yy).square() + xy.square() + 1e-12).sqrt()
    largest = middle + half_gap
    # lmax lmin = det: the product form loses no digits where middle - half_gap cancels.
    smallest = (xx * yy - xy.square()) / largest.clamp_min(1e-12)
    # Below a three-thousandth of a pixel nothing has a shape; this also makes undrawn rows round.
    ratio = 0.5 * (largest.clamp_min(1e-5) / smallest.clamp_min(1e-5)).log()
    return torch.relu(ratio - threshold).mean()


def world_aspects(log_scales: Tensor) -> Tensor:
    """Longest over shortest axis of each Gaussian, (N,). The triangle's scale cancels, so local scales serve."""
    return (log_scales.amax(1) - log_scales.amin(1)).exp()
