"""The compact preset's encoder: a small pyramid of convolutions, trained from scratch (design: ours)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from spatialavatar.generate.style_unet import Down, activate, convolution

FINEST = 1
"""Levels above half the picture's size at which features come out: 1 is a quarter."""


class CompactEncoder(nn.Module):
    """(M, 3, S, S) pictures in [0, 1] and (M, 1, S, S) mattes -> (M, C, S/4, S/4) features and (M, D) codes.

    Downwards by halves, then upwards again from the coarsest but one, each level adding its own (a feature pyramid).
    """

    def __init__(self, widths: tuple[int, ...], feature_channels: int, code_channels: int):
        super().__init__()
        self.enter = convolution(4, widths[0], 3, stride=2)
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.code = nn.Linear(widths[-1], code_channels)
        self.lateral = nn.ModuleList(convolution(width, feature_channels, 1) for width in widths[FINEST:])
        self.smooth = convolution(feature_channels, feature_channels, 3)

    def forward(self, images: Tensor, mattes: Tensor) -> tuple[Tensor, Tensor]:
        values = activate(self.enter(torch.cat([4 * (images - 0.5), 2 * mattes - 1], 1)))
        levels = [values]
        for down in self.down:
            values = down(values)
            levels.append(values)
        code = self.code(values.mean((2, 3)))
        features = self.lateral[-1](levels[-1])
        for lateral, level in zip(reversed(self.lateral[:-1]), reversed(levels[FINEST:-1]), strict=True):
            features = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = features + lateral(level)
        return activate(self.smooth(features)), code
