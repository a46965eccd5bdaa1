"""Metrics that compare two pictures pixel by pixel or window by window: MSE, PSNR, SSIM, MS-SSIM.

Images are (H, W, 3) float sRGB in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from spatialavatar.splat import photometric

PSNR_CEILING = 100.0
"""PSNR of equal pictures, which would be infinite and swallow every mean."""

SSIM_BORDER = 5
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, finest first (Wang et al. 2003)."""
MS_SSIM_LEAST_SIDE = 11 * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
"""A window of 11 must fit the coarsest scale."""

IDS = {
    "mse": "mse.rgb8-1",
    "psnr": "psnr.rgb8-ceiling100-1",
    "ssim": "ssim.gaussian11-sigma1.5-valid-1",
    "ssim_reflect": "ssim.gaussian11-sigma1.5-reflect-1",
    "ms_ssim": "ms-ssim.gaussian11-sigma1.5-5scales-reflect-1",
}


def mse(image: Tensor, target: Tensor) -> float:
    """Mean squared error over pixels and channels."""
    return float((image - target).square().mean())


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB, at most `PSNR_CEILING`; NaN for an empty mask (H, W)."""
    if mask is not None and not bool(mask.any()):
        return float("nan")
    return min(float(photometric.psnr(image, target, mask)), PSNR_CEILING)


def ssim(image: Tensor, target: Tensor) -> float:
    """Structural similarity: 11 x 11 Gaussian window of sigma 1.5, mean over the pixels whose window lies inside.

    As scikit-image, SplattingAvatar's benchmark and the paper of Wang et al. (2004) have it. NaN below 21 pixels.
    """
    height, width, channels = image.shape
    if min(height, width) <= 4 * SSIM_BORDER:
        return float("nan")
    return _inner_sum(image, target) / ((height - 2 * SSIM_BORDER) * (width - 2 * SSIM_BORDER) * channels)


def ssim_reflect(image: Tensor, target: Tensor) -> float:
    """Structural similarity with the border reflected, mean over all pixels.

    As torchmetrics has it, with which GAGAvatar, GPAvatar and LAM score. NaN below 21 pixels.
    """
    if min(image.shape[:2]) <= 4 * SSIM_BORDER:
        return float("nan")
    x, y = _reflected(image), _reflected(target)
    border, strip = SSIM_BORDER, 3 * SSIM_BORDER
    inner = slice(border, -border)
    outside = (
        photometric.ssim_map(x[:strip], y[:strip])[border : 2 * border, inner],
        photometric.ssim_map(x[-strip:], y[-strip:])[border : 2 * border, inner],
        photometric.ssim_map(x[:, :strip], y[:, :strip])[2 * border : -2 * border, border : 2 * border],
        photometric.ssim_map(x[:, -strip:], y[:, -strip:])[2 * border : -2 * border, border : 2 * border],
    )
    return (_inner_sum(image, target) + sum(float(part.double().sum()) for part in outside)) / image.numel()


def _inner_sum(image: Tensor, target: Tensor) -> float:
    """Sum of the SSIM map without its border.

    The loss's kernel is many times faster than a map, but pads with zeros. Only the border knows the difference, and a
    strip twice as wide as the border holds all that the border sees.
    """
    everything = (1 - float(photometric.l1_ssim(image, target, 0.0, 1.0))) * image.numel()
    border, strip = SSIM_BORDER, 2 * SSIM_BORDER
    outside = (
        photometric.ssim_map(image[:strip], target[:strip])[:border],
        photometric.ssim_map(image[-strip:], target[-strip:])[-border:],
        photometric.ssim_map(image[:, :strip], target[:, :strip])[border:-border, :border],
        photometric.ssim_map(image[:, -strip:], target[:, -strip:])[border:-border, -border:],
    )
    return everything - sum(float(part.double().sum()) for part in outside)


def _reflected(image: Tensor) -> Tensor:
    """(H, W, 3) with five reflected pixels around it."""
    wide = torch.nn.functional.pad(image.permute(2, 0, 1), (SSIM_BORDER,) * 4, mode="reflect")
    return wide.permute(1, 2, 0)


def ms_ssim(image: Tensor, target: Tensor) -> float:
    """Multi-scale structural similarity (Wang et al. 2003) as torchmetrics has it: the coarsest scale's mean runs over
    a reflected border too. NaN below 176 pixels, where no fifth scale fits."""
    if min(image.shape[:2]) < MS_SSIM_LEAST_SIDE:
        return float("nan")
    value = 1.0
    last = len(MS_SSIM_WEIGHTS) - 1
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        similarity, contrast = _similarity_and_contrast(image, target)
        # A negative mean has no power of its weight; torchmetrics takes it for 0 as well.
        value *= max(similarity if scale == last else contrast, 0.0) ** weight
        if scale < last:
            image, target = _halved(image), _halved(target)
    return value


def _similarity_and_contrast(image: Tensor, target: Tensor) -> tuple[float, float]:
    """Mean SSIM over a reflected border too, and the mean of its contrast and structure term over whole windows."""
    x, y = _reflected(image).permute(2, 0, 1), _reflected(target).permute(2, 0, 1)
    inner = slice(SSIM_BORDER, -SSIM_BORDER)
    maps = torch.cat([x, y, x * x, y * y, x * y])
    means = photometric._window_means(maps)[:, inner, inner]
    mean_x, mean_y, square_x, square_y, product = means.split(x.shape[0])
    variances = (square_x - mean_x**2).clamp_min(0) + (square_y - mean_y**2).clamp_min(0)
    contrast = (2 * (product - mean_x * mean_y) + photometric.C2) / (variances + photometric.C2)
    luminance = (2 * mean_x * mean_y + photometric.C1) / (mean_x**2 + mean_y**2 + photometric.C1)
    return float((luminance * contrast).mean()), float(contrast[:, inner, inner].mean())


def _halved(image: Tensor) -> Tensor:
    """(H, W, 3) -> (H // 2, W // 2, 3) means of 2 x 2 pixels."""
    return torch.nn.functional.avg_pool2d(image.permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
