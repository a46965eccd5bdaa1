"""The residual head (§3.2): what the target's expression changes in position, rotation, scale and colour.

A two-layer MLP turns the condition (expression, global rotation, jaw and eyes of the target frame) into a FiLM scale
and shift for each attribute; the modulated UV map goes through a 1 x 1 convolution, zero at start. Never opacity: it
made coverage pump. Shape and view do not enter.
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor, nn

from spatialavatar.avatar.residual import ATTRIBUTES, film_residuals

__all__ = ["ResidualHead"]


class ResidualHead(nn.Module):
    """(B, N, C) map and (B, E + 12) condition -> name -> (B, N, c) corrections.

    Args:
        channels: C.
        condition: E + 12.
        width: Of the MLP's hidden layer.
    """

    def __init__(self, channels: int, condition: int, width: int):
        super().__init__()
        self.hidden = nn.Linear(condition, width)
        self.film = nn.Linear(width, 2 * channels * len(ATTRIBUTES))
        self.convolutions = nn.ModuleDict({name: nn.Linear(channels, size) for name, size in ATTRIBUTES.items()})
        for layer in self.convolutions.values():
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, condition: Tensor) -> dict[str, Tensor]:
        film = self.film(functional.silu(self.hidden(condition)))
        weights = {name: layer.weight for name, layer in self.convolutions.items()}
        biases = {name: layer.bias for name, layer in self.convolutions.items()}
        return film_residuals(maps, film, weights, biases)  # type: ignore[arg-type]
