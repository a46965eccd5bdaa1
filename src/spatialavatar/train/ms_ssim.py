"""MS-SSIM with several windows on one image, instead of one window on several sizes (Eq. 2).

The form of Zhao et al. 2017 ("Loss Functions for Image Restoration with Neural Networks", §III-C), which is what a list
of sigmas means: with luminance l and contrast-structure cs at every pixel under a Gaussian window of each sigma,

    MS-SSIM(p) = l_largest(p) * prod_sigma cs_sigma(p),        MS-SSIM = mean over pixels and channels

Windows reach 3.5 sigma, and are cut and renormalised at the border. They are applied as matrices from both sides: no
convolution of torch's is as fast on a CPU, and the order of sums is fixed. Of each matrix only the band around its
diagonal is multiplied, block by block.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

C1 = 0.01**2
C2 = 0.03**2
TRUNCATE = 3.5
BLOCK = 32
"""Rows of a window's matrix that are multiplied at once, with the columns they reach."""


@lru_cache(maxsize=64)
def _window_matrix(length: int, sigma: float) -> Tensor:
    """(length, length) float64: row i holds the window's weights around i, its sum 1."""
    offsets = torch.arange(length, dtype=torch.float64)
    distance = offsets[:, None] - offsets[None]
    weights = torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= _radius(sigma))
    return weights / weights.sum(1, keepdim=True)


def _radius(sigma: float) -> int:
    return int(TRUNCATE * sigma + 0.5)


def _reaches(length: int, radius: int) -> list[tuple[slice, slice]]:
    """Blocks of rows of a banded (length, length) matrix, and the columns in which they are not zero."""
    return [
        (slice(first, min(first + BLOCK, length)), slice(max(0, first - radius), min(length, first + BLOCK + radius)))
        for first in range(0, length, BLOCK)
    ]


class _Windowed(torch.autograd.Function):
    """rows @ maps @ columns.T for matrices with nothing outside of a band; its gradient is of the same form."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, rows: Tensor, columns: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(rows, columns)
        ctx.radius = radius
        height, width = maps.shape[-2:]
        parts = [rows[block, reach] @ maps[..., reach, :] for block, reach in _reaches(height, radius)]
        across = torch.cat(parts, -2).reshape(-1, width)
        means = torch.empty_like(across)
        for block, reach in _reaches(width, radius):
            means[:, block] = across[:, reach] @ columns[block, reach].T
        return means.view(maps.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        rows, columns = ctx.saved_tensors
        return _Windowed.apply(gradients[0], rows.T, columns.T, ctx.radius), None, None, None


def window_means(maps: Tensor, sigma: float) -> Tensor:
    """(..., H, W) Gaussian-weighted means of (..., H, W)."""
    rows, columns = (_window_matrix(length, sigma).to(maps) for length in maps.shape[-2:])
    return _Windowed.apply(maps, rows, columns, _radius(sigma))


def ssim_parts(images: Tensor, targets: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure of SSIM at every pixel, both (B, C, H, W), for (B, C, H, W) in [0, 1]."""
    # Apart, so that nothing is carried back through the targets' own means, which seldom need a gradient.
    mean_x, square_x, product = window_means(torch.stack([images, images * images, images * targets]), sigma)
    mean_y, square_y = window_means(torch.stack([targets, targets * targets]), sigma)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    variances = square_x - mean_x**2 + square_y - mean_y**2
    return luminance, (2 * (product - mean_x * mean_y) + C2) / (variances + C2)


def ms_ssim(images: Tensor, targets: Tensor, sigmas: Sequence[float]) -> Tensor:
    """(B,) MS-SSIM of pairs of (B, C, H, W) images in [0, 1], 1 for equal ones; differentiable in both.

    Raises:
        ValueError: The shapes differ, or there is no sigma.
    """
    if images.shape != targets.shape or images.dim() != 4:
        raise ValueError(f"ms_ssim: two (B, C, H, W), got {tuple(images.shape)} and {tuple(targets.shape)}")
    if not sigmas:
        raise ValueError("ms_ssim: at least one sigma")
    product = torch.ones_like(images)
    for sigma in sorted(sigmas):
        luminance, structure = ssim_parts(images, targets, sigma)
        product = product * structure
    return (product * luminance).mean(dim=(1, 2, 3))
