"""How stretched projected Gaussians are: the loss that keeps needles from growing (§3.3, Eq. 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialavatar import _native
from spatialavatar.splat import threads  # noqa: F401  (sets the size of the kernels' thread pool)

FLOOR = 1e-5
"""Square pixels: below a variance of this (a three-hundredth of a pixel) nothing has a shape."""

ROUND = 1e-12
"""Keeps the square root's gradient finite for a round Gaussian."""


def aspect_loss(covariances2d: Tensor, threshold: float) -> Tensor:
    """Mean over Gaussians of ReLU(1/2 log(lmax / lmin) - threshold) (Eq. 4).

    Args:
        covariances2d: (N, 3) xx, xy, yy of the projected covariances, square pixels, not dilated.
        threshold: tau, the logarithm of the aspect ratio from which on a Gaussian pays.

    Returns:
        A scalar, differentiable in the covariances; 0 for N = 0.

    Raises:
        ValueError: The shape is not (N, 3).
    """
    if covariances2d.dim() != 2 or covariances2d.shape[1] != 3:
        raise ValueError(f"covariances2d must have shape (N, 3), got {tuple(covariances2d.shape)}")
    if covariances2d.dtype == torch.float32 and covariances2d.device.type == "cpu":
        return _Aspect.apply(covariances2d, threshold)
    return aspect_loss_torch(covariances2d, threshold)


def aspect_loss_torch(covariances2d: Tensor, threshold: float) -> Tensor:
    """`aspect_loss` in torch, for any dtype and device."""
    if not len(covariances2d):
        return covariances2d.sum()
    xx, xy, yy = covariances2d.unbind(-1)
    half_gap = (((xx - yy) / 2).square() + xy.square() + ROUND).sqrt()
    largest = (xx + yy) / 2 + half_gap
    # lmax lmin is the determinant: this loses no digits where the mean minus half the gap cancels.
    smallest = (xx * yy - xy.square()) / largest.clamp_min(ROUND)
    log_aspect = 0.5 * (largest.clamp_min(FLOOR) / smallest.clamp_min(FLOOR)).log()
    return torch.relu(log_aspect - threshold).mean()


class _Aspect(torch.autograd.Function):
    """`aspect_loss_torch` by the compiled kernel, which computes value and gradient together."""

    @staticmethod
    def forward(ctx: Any, covariances2d: Tensor, threshold: float) -> Tensor:
        covariances2d = covariances2d.detach().contiguous()
        gradient = torch.empty_like(covariances2d) if ctx.needs_input_grad[0] else None
        value = _native.aspect(covariances2d.numpy(), None if gradient is None else gradient.numpy(), threshold)
        ctx.save_for_backward(gradient)
        return covariances2d.new_tensor(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None
