"""L2-SP: what Phase 2 learns stays near what Phase 1 knew (Li et al. 2018; §4.2, Tab. 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


def anchor_loss(parameters: Iterable[tuple[str, nn.Parameter]], anchor: Mapping[str, Tensor]) -> Tensor:
    """Half the squared distance of all trainable parameters to the anchor, a scalar."""
    parts = [(value - anchor[name]).square().sum() for name, value in parameters if value.requires_grad]
    return 0.5 * torch.stack(parts).sum()


@torch.no_grad()
def add_anchor_gradient_(
    parameters: Iterable[tuple[str, nn.Parameter]], anchor: Mapping[str, Tensor], weight: float
) -> float:
    """Add the gradient of ``weight * anchor_loss`` to the gradients that are there, and return the loss unweighted.

    Written out, because it is the same in every process and for every part of a batch: it is added once.
    """
    total = 0.0
    for name, value in parameters:
        if not value.requires_grad:
            continue
        away = value - anchor[name]
        total += 0.5 * float(away.square().sum())
        value.grad = weight * away if value.grad is None else value.grad.add_(away, alpha=weight)
    return total
