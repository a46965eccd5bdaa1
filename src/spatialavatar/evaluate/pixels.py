"""Metrics that compare two pictures pixel by pixel or window by window: MSE, PSNR, SSIM, MS-SSIM.

Images are (H, W, 3) float sRGB in [0, 1]. Every metric is the field's: the settings are those of torchmetrics, which
GAGAvatar, GPAvatar and LAM score with, and of SplattingAvatar's benchmark.
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
    "ms_ssim": "ms-ssim.gaussian11-sigma1.5-5scales-1",
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

    The loss of Eq. 5 pads with zeros instead; scores of the two differ by about a thousandth.
    """
    height, width, channels = image.shape
    if min(height, width) <= 4 * SSIM_BORDER:
        return float("nan")
    # The loss's kernel is many times faster than a map, but pads with zeros. Only the border knows the difference, and
    # a strip twice as wide as the border holds all that the border sees.
    everything = (1 - float(photometric.l1_ssim(image, target, 0.0, 1.0))) * height * width * channels
    border, strip = SSIM_BORDER, 2 * SSIM_BORDER
    top = photometric.ssim_map(image[:strip], target[:strip])[:border]
    bottom = photometric.ssim_map(image[-strip:], target[-strip:])[-border:]
    left = photometric.ssim_map(image[:, :strip], target[:, :strip])[border:-border, :border]
    right = photometric.ssim_map(image[:, -strip:], target[:, -strip:])[border:-border, -border:]
    outside = sum(float(part.double().sum()) for part in (top, bottom, left, right))
    return (everything - outside) / ((height - 2 * border) * (width - 2 * border) * channels)


def ms_ssim(image: Tensor, target: Tensor) -> float:
    """Multi-scale structural similarity (Wang et al. 2003); NaN below 176 pixels, where no fifth scale fits."""
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
    """Mean SSIM, and the mean of its contrast and structure term alone, over whole windows."""
    x, y = image.permute(2, 0, 1), target.permute(2, 0, 1)
    inner = slice(SSIM_BORDER, -SSIM_BORDER)
    maps = torch.cat([x, y, x * x, y * y, x * y])
    means = photometric._window_means(maps)[:, inner, inner]
    mean_x, mean_y, square_x, square_y, product = means.split(x.shape[0])
    variances = (square_x - mean_x**2).clamp_min(0) + (square_y - mean_y**2).clamp_min(0)
    contrast = (2 * (product - mean_x * mean_y) + photometric.C2) / (variances + photometric.C2)
    luminance = (2 * mean_x * mean_y + photometric.C1) / (mean_x**2 + mean_y**2 + photometric.C1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def _halved(image: Tensor) -> Tensor:
    """(H, W, 3) -> (H // 2, W // 2, 3) means of 2 x 2 pixels."""
    return torch.nn.functional.avg_pool2d(image.permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
