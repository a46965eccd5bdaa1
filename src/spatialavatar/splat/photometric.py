"""Image losses and scores: L1, SSIM, PSNR.

SSIM (Wang et al. 2004) with the field's usual settings: an 11 x 11 Gaussian window of sigma 1.5, constants 0.01^2 and
0.03^2 for images in [0, 1], zero padding, mean over all pixels and channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialavatar import _native
from spatialavatar.splat import threads  # noqa: F401  (sets the size of the kernels' thread pool)
from spatialavatar.splat.box import Box

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


def l1_ssim(
    image: Tensor, target: Tensor, l1_weight: float = 0.8, ssim_weight: float = 0.2, crop: Box | None = None
) -> Tensor:
    """``l1_weight * mean |image - target| + ssim_weight * (1 - SSIM)``, differentiable in ``image`` (§3.3, Eq. 5).

    Args:
        image, target: (H, W, C). The target gets no gradient.
        crop: A box x0, x1, y0, y1 (ends excluded) outside of which the two images are known to be equal; only its
            neighbourhood is computed then. The value and the gradient are those of the whole image: the means still
            run over every pixel.

    Returns:
        A scalar of the image's dtype.

    Raises:
        ValueError: Shapes, dtypes or devices differ, or the box does not lie in the image.
    """
    _check_pair(image, target)
    height, width = image.shape[:2]
    box = (0, width, 0, height) if crop is None else _widened(crop, width, height)
    if image.dtype == torch.float32 and image.device.type == "cpu":
        return _L1Ssim.apply(image, target.detach(), l1_weight, ssim_weight, box)
    return l1_ssim_torch(image, target.detach(), l1_weight, ssim_weight, box)


def l1_ssim_torch(image: Tensor, target: Tensor, l1_weight: float, ssim_weight: float, box: Box) -> Tensor:
    """`l1_ssim` in torch, for any dtype and device; ``box`` is what is computed, equal windows around it included."""
    x0, x1, y0, y1 = box
    height, width, channels = image.shape
    part, part_target = image[y0:y1, x0:x1], target[y0:y1, x0:x1]
    total = height * width * channels
    l1 = (part - part_target).abs().sum() / total
    # At the seam of a crop the zero padding is wrong, but there both images are equal and SSIM is 1 by any padding.
    equal = total - part.numel()
    mean_ssim = (ssim_map(part, part_target).sum() + equal) / total
    return l1_weight * l1 + ssim_weight * (1 - mean_ssim)


class _L1Ssim(torch.autograd.Function):
    """`l1_ssim_torch` by the compiled kernel, which computes value and gradient together."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, l1_weight: float, ssim_weight: float, box: Box) -> Tensor:
        # The kernel reads one channel after the other, as rendered images lie in memory already.
        planes = image.detach().permute(2, 0, 1).contiguous()
        target_planes = target.permute(2, 0, 1).contiguous()
        gradient = torch.empty_like(planes) if ctx.needs_input_grad[0] else None
        value = _native.l1_ssim(
            planes.numpy(),
            target_planes.numpy(),
            None if gradient is None else gradient.numpy(),
            l1_weight,
            ssim_weight,
            *box,
        )
        ctx.save_for_backward(gradient)
        return image.new_tensor(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        if float(outer) != 1.0:  # multiplying the whole image takes as long as a tenth of the kernel
            gradient = gradient * outer
        return gradient.permute(1, 2, 0), None, None, None, None


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Mean structural similarity of two (H, W, C) images; a scalar, differentiable in both."""
    _check_pair(image, target)
    return ssim_map(image, target).mean()


def ssim_map(image: Tensor, target: Tensor) -> Tensor:
    """(H, W, C) structural similarity at every pixel of two (H, W, C) images."""
    channels = image.shape[2]
    x, y = image.permute(2, 0, 1), target.permute(2, 0, 1)  # (C, H, W)
    moments = _window_means(torch.cat([x, y, x * x + y * y, x * y]))  # (4 C, H, W)
    mean_x, mean_y, squares, product = moments.split(channels)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * (product - mean_x * mean_y) + C2) / (squares - mean_x**2 - mean_y**2 + C2)
    return (luminance * structure).permute(1, 2, 0)


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB of two (H, W, C) images in [0, 1]; infinite for equal images.

    Args:
        mask: (H, W), boolean or weights in [0, 1]: the pixels that count. All of them if None.
    """
    _check_pair(image, target)
    squared_error = (image - target).square().mean(dim=-1)  # (H, W)
    if mask is None:
        return -10 * torch.log10(squared_error.mean())
    if mask.shape != squared_error.shape:
        raise ValueError(f"psnr: mask must have shape {tuple(squared_error.shape)}, got {tuple(mask.shape)}")
    weights = mask.to(squared_error.dtype)
    return -10 * torch.log10((squared_error * weights).sum() / weights.sum())


def _window_means(maps: Tensor) -> Tensor:
    """(M, H, W) Gaussian-weighted means of (M, H, W), zero beyond the border; the window is separable."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).to(maps)
    rows = torch.nn.functional.conv2d(maps[:, None], weights.view(1, 1, WINDOW, 1), padding=(WINDOW // 2, 0))
    return torch.nn.functional.conv2d(rows, weights.view(1, 1, 1, WINDOW), padding=(0, WINDOW // 2))[:, 0]


def _widened(crop: Box, width: int, height: int) -> Box:
    """The box plus two window radii: one for the windows that see a difference, one for the pixels these move."""
    x0, x1, y0, y1 = crop
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(f"l1_ssim: crop (x0, x1, y0, y1) = {tuple(crop)} is no box in a {width} x {height} image")
    reach = WINDOW - 1
    return max(0, x0 - reach), min(width, x1 + reach), max(0, y0 - reach), min(height, y1 + reach)


def _check_pair(image: Tensor, target: Tensor) -> None:
    if image.dim() != 3 or image.shape != target.shape or 0 in image.shape:
        raise ValueError(
            "image and target must have one shape (H, W, C), none of it 0; "
            f"got {tuple(image.shape)} and {tuple(target.shape)}"
        )
    if image.dtype != target.dtype or image.device != target.device:
        raise ValueError(f"image is {image.dtype} on {image.device}, but target is {target.dtype} on {target.device}")
    if not image.dtype.is_floating_point:
        raise ValueError(f"image and target must be floating-point, got {image.dtype}; divide 8-bit images by 255")
