"""The frozen residual head inside an avatar (§3.2): corrections that follow the expression, added after the heads.

What Stage 1 emits holds for one expression; this small function of the motion says how the Gaussians differ in
another. It needs the subject's UV map (C features for each Gaussian) and the head's few weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.avatar.gaussians import LocalGaussians

ATTRIBUTES = {"position": 3, "rotation": 4, "log_scale": 3, "color": 3}
"""What is corrected, and how many numbers each has; never opacity."""


def film_residuals(
    maps: Tensor, film: Tensor, weights: Mapping[str, Tensor], biases: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Corrections by FiLM and a 1 x 1 convolution for each attribute.

    Args:
        maps: (B, N, C).
        film: (B, 2 C 4): scale (as 1 + scale) and shift of every channel for each attribute, in the order of
            ATTRIBUTES.
        weights, biases: (c, C) and (c,) of each attribute's convolution; attributes that are missing are left out.

    Returns:
        name -> (B, N, c).

    Modulation and convolution are both linear in the map: W (m (1 + g) + b) = (W (1 + g)) m + W b. The left factor is
    put together first, so that a frame costs one small matrix product.
    """
    batch, _, channels = maps.shape
    film = film.view(batch, len(ATTRIBUTES), 2, channels)
    left, right = [], []
    names = [name for name in ATTRIBUTES if name in weights]
    for index, name in enumerate(ATTRIBUTES):
        if name not in weights:
            continue
        scale, shift = film[:, index].unbind(1)  # (B, C)
        left.append(weights[name] * (1 + scale)[:, None])  # (B, c, C)
        right.append(shift @ weights[name].T + biases[name])  # (B, c)
    joined = torch.baddbmm(torch.cat(right, 1)[:, None], maps, torch.cat(left, 1).transpose(1, 2))
    return dict(zip(names, joined.split([ATTRIBUTES[name] for name in names], -1), strict=True))


def with_residuals(
    positions: Tensor, quaternions_wxyz: Tensor, log_scales: Tensor, colors: Tensor, residuals: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four attributes corrected; colours stay within [0, 1]."""
    return (
        positions + residuals["position"],
        quaternions_wxyz + residuals["rotation"],
        log_scales + residuals["log_scale"],
        (colors + residuals["color"]).clamp(0, 1),
    )


def corrected(local: LocalGaussians, residuals: Mapping[str, Tensor]) -> LocalGaussians:
    """`with_residuals` of one avatar's Gaussians."""
    values = (local.positions, local.quaternions_wxyz, local.log_scales, local.colors)
    positions, quaternions, log_scales, colors = with_residuals(*values, residuals)
    return LocalGaussians(positions, quaternions, log_scales, local.opacity_logits, colors)


def no_residuals(count: int, device: torch.device | str | None = None) -> dict[str, Tensor]:
    """Zeros for `count` Gaussians: what is added where only a light changes something."""
    return {name: torch.zeros(count, width, device=device) for name, width in ATTRIBUTES.items()}


def lit_residuals(residuals: Mapping[str, Tensor], colors: Tensor, factors: Tensor) -> dict[str, Tensor]:
    """Corrections after which the light has been at the colours, too, for kernels that only add.

    Args:
        residuals: Of a residual head, or `no_residuals`.
        colors: (N, 3) as stored.
        factors: (N,) of `Avatar.brightness`.
    """
    corrected_colors = (colors + residuals["color"]).clamp(0, 1)
    change = torch.addcmul(corrected_colors - colors, corrected_colors, (factors - 1)[:, None])
    return {**residuals, "color": change}


@dataclass(frozen=True, eq=False)
class Residual:
    """A subject's frozen residual head.

    features: (N, C) UV map of the subject, in the order of the Gaussians.
    hidden_weight, hidden_bias: (H, E + 12) and (H,) first layer of the MLP.
    film_weight, film_bias: (8 C, H) and (8 C,) second layer.
    weights, biases: (13, C) and (13,) the attributes' 1 x 1 convolutions, in the order of ATTRIBUTES.
    """

    features: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    film_weight: Tensor
    film_bias: Tensor
    weights: Tensor
    biases: Tensor

    def __post_init__(self) -> None:
        """Raises ValueError when shapes do not fit each other."""
        count, channels = self.features.shape
        width, condition = self.hidden_weight.shape
        total = sum(ATTRIBUTES.values())
        expected = {
            "features": (count, channels),
            "hidden_weight": (width, condition),
            "hidden_bias": (width,),
            "film_weight": (2 * channels * len(ATTRIBUTES), width),
            "film_bias": (2 * channels * len(ATTRIBUTES),),
            "weights": (total, channels),
            "biases": (total,),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"Residual.{name} must have shape {shape}, got {found}")

    def __len__(self) -> int:
        return self.features.shape[0]

    @property
    def condition_length(self) -> int:
        """E + 12."""
        return self.hidden_weight.shape[1]

    def to(self, device: torch.device | str | None = None) -> Residual:
        """The same on another device."""
        return Residual(*(getattr(self, item.name).to(device) for item in fields(self)))

    def corrections(self, condition: Tensor) -> dict[str, Tensor]:
        """name -> (N, c) for one frame's condition (E + 12,) or (1, E + 12)."""
        condition = condition.reshape(1, -1)
        hidden = functional.silu(functional.linear(condition, self.hidden_weight, self.hidden_bias))
        film = functional.linear(hidden, self.film_weight, self.film_bias)
        weights, biases = ({name: part[name] for name in self.corrected} for part in (self._weights, self._biases))
        found = film_residuals(self.features[None], film, weights, biases) if self.corrected else {}
        none = {
            name: self.features.new_zeros(len(self), size) for name, size in ATTRIBUTES.items() if name not in found
        }
        return none | {name: value[0] for name, value in found.items()}

    @cached_property
    def corrected(self) -> tuple[str, ...]:
        """The attributes that it says anything about; correctives leave two alone."""
        return tuple(name for name in ATTRIBUTES if bool(self._weights[name].any() | self._biases[name].any()))

    @property
    def _weights(self) -> dict[str, Tensor]:
        return dict(zip(ATTRIBUTES, self.weights.split(list(ATTRIBUTES.values())), strict=True))

    @property
    def _biases(self) -> dict[str, Tensor]:
        return dict(zip(ATTRIBUTES, self.biases.split(list(ATTRIBUTES.values())), strict=True))

    def apply(self, local: LocalGaussians, condition: Tensor) -> LocalGaussians:
        """`local` as it is under this expression; differentiable in `local`, so that refinement goes on beneath."""
        return corrected(local, self.corrections(condition))


def both(first: Residual, second: Residual) -> Residual:
    """One residual head that corrects by the sum of what two do, each with its own features.

    Raises:
        ValueError: They are of different numbers of Gaussians or conditions.
    """
    if (len(first), first.condition_length) != (len(second), second.condition_length):
        raise ValueError("residual heads of different avatars cannot be added")
    heads = (first, second)
    attributes = len(ATTRIBUTES)
    films = [head.film_weight.view(2 * attributes, head.features.shape[1], -1) for head in heads]
    film = torch.stack([torch.block_diag(*(each[k] for each in films)) for k in range(2 * attributes)])
    biases = [head.film_bias.view(2 * attributes, -1) for head in heads]
    return Residual(
        features=torch.cat([head.features for head in heads], 1),
        hidden_weight=torch.cat([head.hidden_weight for head in heads]),
        hidden_bias=torch.cat([head.hidden_bias for head in heads]),
        film_weight=film.flatten(0, 1),
        film_bias=torch.cat(biases, 1).flatten(),
        weights=torch.cat([head.weights for head in heads], 1),
        biases=first.biases + second.biases,
    )


def first_part(residual: Residual, channels: int, hidden: int) -> Residual:
    """The first of the two that `both` made one of, `channels` and `hidden` units of it; biases are all the first's."""
    film = residual.film_weight.view(2 * len(ATTRIBUTES), residual.features.shape[1], -1)
    return Residual(
        features=residual.features[:, :channels],
        hidden_weight=residual.hidden_weight[:hidden],
        hidden_bias=residual.hidden_bias[:hidden],
        film_weight=film[:, :channels, :hidden].flatten(0, 1),
        film_bias=residual.film_bias.view(2 * len(ATTRIBUTES), -1)[:, :channels].flatten(),
        weights=residual.weights[:, :channels],
        biases=residual.biases,
    )
