"""Geometry must not depend on the view: Hutchinson's estimate of a Jacobian's norm (Eq. 3 and 11).

With f(gamma) a map of 3-vectors over the UV pixels p, and v_p drawn independently from {-1, +1}^3,

    g = sum_p <v_p, f_p(gamma)>        E || grad_gamma g ||^2 = sum_p || d f_p / d gamma ||_F^2

because the cross terms' signs are independent. One backward pass, whatever the number of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rademacher(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Independent -1 and +1, float32 on the CPU, so that all devices see the same."""
    return torch.randint(0, 2, tuple(shape), generator=generator).float().mul_(2).sub_(1)


def squared_jacobian(values: Tensor, gamma: Tensor, probe: Tensor) -> Tensor:
    """(B,) unbiased estimates of sum_p || d f_p / d gamma ||_F^2, differentiable again.

    Args:
        values: (B, N, 3) f(gamma); item b depends on gamma[b] alone.
        gamma: (B, G), part of the graph of `values`.
        probe: (B, N, 3) from `rademacher`.
    """
    (gradient,) = torch.autograd.grad((values * probe).sum(), gamma, create_graph=True)
    return gradient.square().sum(-1)


def view_penalty(positions: Tensor, log_scales: Tensor, gamma: Tensor, probes: tuple[Tensor, Tensor]) -> Tensor:
    """(B,) log(1 + ||grad g_x||^2 + ||grad g_s||^2): one logarithm around both (Eq. 3).

    Args:
        positions, log_scales: (B, N, 3) local, functions of gamma.
        gamma: (B, 27) the view code.
        probes: Two independent (B, N, 3).
    """
    both = squared_jacobian(positions, gamma, probes[0]) + squared_jacobian(log_scales, gamma, probes[1])
    return torch.log1p(both)
