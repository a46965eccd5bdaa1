"""Residual shrinkage: the residual head corrects as little as it must (Eq. 2, Phase 2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def residual_shrinkage(residuals: Mapping[str, Tensor]) -> Tensor:
    """(B,) mean over the N UV pixels of the L1 norms of the residual head's outputs, summed over the outputs.

    Args:
        residuals: (B, N, C) per attribute: position, rotation, scale, colour.

    Raises:
        ValueError: There is none.
    """
    if not residuals:
        raise ValueError("residual_shrinkage: this generator has no residual head")
    return torch.stack([value.abs().sum(-1).mean(-1) for value in residuals.values()]).sum(0)
