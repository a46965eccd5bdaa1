"""The DPT neck (§3.2): tokens of four depths of a vision transformer become one dense feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

LEVELS = 4
FACTORS = (4, 2, 1, 0.5)
"""Resolution of each level's map over the patches'."""


def tapped_layers(depth: int) -> tuple[int, ...]:
    """Which of `depth` layers are read, counted from 1: the ends of four equal parts."""
    return tuple(depth * (level + 1) // LEVELS for level in range(LEVELS))


class DPT(nn.Module):
    """LEVELS x (M, h w, hidden) patch tokens -> (M, C, 8 h, 8 w) features.

    Args:
        hidden: Length of a token.
        channels: C.

    The neck is transformers' `DPTNeck`; it wants a leading token, which it throws away.
    """

    def __init__(self, hidden: int, channels: int):
        super().__init__()
        from transformers import DPTConfig
        from transformers.models.dpt.modeling_dpt import DPTNeck

        config: Any = DPTConfig(
            hidden_size=hidden,
            neck_hidden_sizes=[max(8, hidden // 8), max(8, hidden // 4), max(8, hidden // 2), hidden],
            reassemble_factors=list(FACTORS),
            fusion_hidden_size=channels,
            readout_type="ignore",
            is_hybrid=False,
        )
        self.neck = DPTNeck(config)

    def forward(self, tokens: Sequence[Tensor], height: int, width: int) -> Tensor:
        """Tokens of each level, and how many patches lie along each side."""
        padded = [torch.cat([level[:, :1], level], 1) for level in tokens]
        fused: Tensor = self.neck(padded, height, width)[-1]
        return fused
