"""The StyleUNet (§3.2): a U-Net on the UV canvas whose decoder is made of StyleGAN2's modulated convolutions, with
spatial feature transforms of its skip connections under the global code.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))


def activate(values: Tensor) -> Tensor:
    """Leaky ReLU that keeps the variance."""
    return functional.leaky_relu(values, SLOPE) * GAIN


def convolution(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps size (over stride) and variance at start."""
    layer = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(channels_in * kernel * kernel))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class ModulatedConvolution(nn.Module):
    """StyleGAN2's: the style scales the input channels, demodulation brings outputs back to unit variance."""

    def __init__(self, channels_in: int, channels_out: int, style_channels: int, kernel: int = 3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        nn.init.normal_(self.weight, std=1 / math.sqrt(channels_in * kernel * kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.style = nn.Linear(style_channels, channels_in)
        nn.init.normal_(self.style.weight, std=0.3 / math.sqrt(style_channels))
        nn.init.ones_(self.style.bias)
        self.padding = kernel // 2

    def forward(self, values: Tensor, style: Tensor) -> Tensor:
        """Values (B, I, H, W), style (B, S) -> (B, O, H, W), before any non-linearity."""
        scale = self.style(style)  # (B, I)
        # The same as scaling the weights for each sample, without a convolution for each.
        power = (scale.square() @ self.weight.square().sum((2, 3)).T).clamp_min(1e-8).rsqrt()  # (B, O)
        convolved = functional.conv2d(values * scale[..., None, None], self.weight, padding=self.padding)
        return convolved * power[..., None, None] + self.bias[:, None, None]


class SpatialFeatureTransform(nn.Module):
    """Scale and shift of every value, read from the skip connection under the global code; the identity at start."""

    def __init__(self, channels: int, code_channels: int):
        super().__init__()
        self.modulate = nn.Linear(code_channels, channels)
        self.transform = nn.Conv2d(channels, 2 * channels, 1)
        nn.init.zeros_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)  # type: ignore[arg-type]

    def forward(self, values: Tensor, skip: Tensor, code: Tensor) -> Tensor:
        """Values and skip (B, C, H, W), code (B, D) -> (B, C, H, W)."""
        scale, shift = self.transform(skip * (1 + self.modulate(code))[..., None, None]).chunk(2, 1)
        return values * (1 + scale) + shift


class Down(nn.Module):
    """Half the size: a strided convolution, then one more beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.reduce = convolution(channels_in, channels_out, 3, stride=2)
        self.refine = convolution(channels_out, channels_out, 3)

    def forward(self, values: Tensor) -> Tensor:
        values = activate(self.reduce(values))
        return (values + activate(self.refine(values))) * math.sqrt(0.5)


class StyleBlock(nn.Module):
    """One modulated convolution with StyleGAN2's noise (fixed, its strength zero at start) and non-linearity."""

    def __init__(self, channels: int, style_channels: int, resolution: int, noise: bool):
        super().__init__()
        self.convolve = ModulatedConvolution(channels, channels, style_channels)
        self.strength = nn.Parameter(torch.zeros(())) if noise else None
        self.noise: Tensor
        if noise:
            fixed = torch.randn(1, 1, resolution, resolution, generator=torch.Generator().manual_seed(resolution))
            self.register_buffer("noise", fixed, persistent=False)

    def forward(self, values: Tensor, style: Tensor) -> Tensor:
        values = self.convolve(values, style)
        if self.strength is not None:
            values = values + self.strength * self.noise
        return activate(values)


class Up(nn.Module):
    """Twice the size, joined with the skip connection, transformed by it, and convolved under the style."""

    def __init__(
        self, channels_in: int, channels_out: int, code_channels: int, style_channels: int, resolution: int, noise: bool
    ):
        super().__init__()
        self.narrow = convolution(channels_in, channels_out, 1)
        self.join = convolution(channels_out, channels_out, 1)
        self.transform = SpatialFeatureTransform(channels_out, code_channels)
        self.block = StyleBlock(channels_out, style_channels, resolution, noise)

    def forward(self, values: Tensor, skip: Tensor, code: Tensor, style: Tensor) -> Tensor:
        # Narrow first: a 1 x 1 convolution and an upsampling commute, and the small picture is the cheaper one.
        values = functional.interpolate(self.narrow(values), scale_factor=2, mode="bilinear", align_corners=False)
        values = (values + self.join(skip)) * math.sqrt(0.5)
        return self.block(self.transform(values, skip, code), style)


class StyleUNet(nn.Module):
    """(B, C, r, r) canvas and (B, D) global code -> (B, r r lift lift, O) map of lift x lift sub-pixels in each cell.

    Args:
        channels_in, channels_out: C and O.
        widths: Channels at r, r/2, r/4, ...
        code_channels: D.
        style_channels: Of the style, a two-layer function of the code.
        resolution: r.
        lift: How many times finer the map is than the canvas along a side; the last layer emits the sub-pixels.
        noise: StyleGAN2's noise.
        template: Channels of a learned map that every subject shares, added at half the canvas' size.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        widths: tuple[int, ...],
        *,
        code_channels: int,
        style_channels: int,
        resolution: int,
        lift: int = 1,
        noise: bool = False,
        template: bool = False,
    ):
        super().__init__()
        self.channels_out = channels_out
        self.mapping = nn.Sequential(
            nn.LayerNorm(code_channels),
            nn.Linear(code_channels, style_channels),
            nn.LeakyReLU(SLOPE),
            nn.Linear(style_channels, style_channels),
        )
        self.enter = convolution(channels_in, widths[0], 1)
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        side = resolution // 2
        self.template = nn.Parameter(0.1 * torch.randn(1, widths[1], side, side)) if template else None
        self.bottom = StyleBlock(widths[-1], style_channels, resolution >> (len(widths) - 1), noise)
        self.up = nn.ModuleList(
            Up(widths[level + 1], widths[level], code_channels, style_channels, resolution >> level, noise)
            for level in reversed(range(len(widths) - 1))
        )
        self.leave = nn.Linear(widths[0], channels_out * lift * lift)

    def forward(self, canvas: Tensor, code: Tensor) -> Tensor:
        style = self.mapping(code)
        values = activate(self.enter(canvas))
        skips = [values]
        for level, down in enumerate(self.down):
            values = down(values)
            if level == 0 and self.template is not None:
                values = values + self.template
            skips.append(values)
        values = self.bottom(skips.pop(), style)
        for up in self.up:
            values = up(values, skips.pop(), code, style)
        # As rows instead of a picture: the heads read rows, and moving sub-pixels into a picture costs more than they.
        rows: Tensor = self.leave(values.flatten(2).transpose(1, 2))
        return rows.reshape(rows.shape[0], -1, self.channels_out)
