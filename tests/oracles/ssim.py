"""SSIM by its definition: one full 11 x 11 window per pixel, float64."""

from __future__ import annotations

import torch
from torch import Tensor


def ssim_by_windows(image: Tensor, target: Tensor) -> Tensor:
    """(H, W, C) map of two (H, W, C) images; zero padding. Differentiable."""
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window = window / window.sum()

    def mean(values: Tensor) -> Tensor:
        planes = values.double().permute(2, 0, 1)[:, None]
        return torch.nn.functional.conv2d(planes, window[None, None], padding=5)[:, 0].permute(1, 2, 0)

    image, target = image.double(), target.double()
    mean_x, mean_y = mean(image), mean(target)
    variance_x, variance_y = mean(image**2) - mean_x**2, mean(target**2) - mean_y**2
    covariance = mean(image * target) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )


def l1_ssim_by_windows(image: Tensor, target: Tensor, l1_weight: float = 0.8, ssim_weight: float = 0.2) -> Tensor:
    """The loss of Eq. 5 by its definition, float64."""
    l1 = (image.double() - target.double()).abs().mean()
    return l1_weight * l1 + ssim_weight * (1 - ssim_by_windows(image, target).mean())
