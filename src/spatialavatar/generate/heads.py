"""The five heads side by side (§3.2): position, rotation, scale, colour and opacity of every Gaussian.

Each is two 1 x 1 convolutions on the UV map's channels and the view code. The code is the same at every pixel, so its
part of the first convolution is computed once. All start at zero: the untrained generator emits its base geometry.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from spatialavatar.generate.style_unet import SLOPE
from spatialavatar.generate.view_code import LENGTH

NAMES = ("position", "rotation", "log_scale", "color", "opacity")


class Heads(nn.Module):
    """(B, N, C) map at the valid pixels and (B, 27) view code -> raw outputs, name -> (B, N, c).

    Args:
        channels: C.
        width: Hidden channels of each head.
        outputs: c of each head, by name.
        sees_view: Without it the view code is ignored.
    """

    def __init__(self, channels: int, width: int, outputs: dict[str, int], sees_view: bool):
        super().__init__()
        self.first = nn.Linear(channels, width * len(NAMES))
        self.view = nn.Linear(LENGTH, width * len(NAMES), bias=False) if sees_view else None
        self.second = nn.ModuleDict({name: nn.Linear(width, outputs[name]) for name in NAMES})
        for layer in self.second.values():
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, code: Tensor) -> dict[str, Tensor]:
        hidden = self.first(maps)
        if self.view is not None:
            hidden = hidden + self.view(code)[:, None]
        hidden = functional.leaky_relu(hidden, SLOPE)
        # The five second convolutions as one: side by side they are a block-diagonal matrix.
        layers = [self.second[name] for name in NAMES]
        weight = torch.block_diag(*(layer.weight for layer in layers))
        bias = torch.cat([layer.bias for layer in layers])  # type: ignore[misc]
        outputs = functional.linear(hidden, weight, bias).split([layer.out_features for layer in layers], -1)
        return dict(zip(NAMES, outputs, strict=True))


def bounded(values: Tensor, bound: float) -> Tensor:
    """Within (-bound, bound), the identity near zero."""
    return bound * torch.tanh(values / bound)
