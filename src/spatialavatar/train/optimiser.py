"""Parameter groups, their rates, and clipping (§4.2, App. A.2)."""

from __future__ import annotations

import math
import re
from collections import defaultdict

import torch
from torch import nn

from spatialavatar.train.config import OptimiserConfig

_BLOCK = re.compile(r"(?:^|\.)(?:layers?|blocks?|down)\.(\d+)\.")
_FIRST = re.compile(r"(?:^|\.)(?:embeddings?|patch_embed\w*|enter|cls_token|\w*_tokens?|pos_embed)(?:\.|$)")


def encoder_depth(name: str) -> int | None:
    """How many blocks lie before a parameter of the encoder: 0 for what first touches the picture, i + 1 within block
    i, None behind the last block (the DPT neck, norms), or outside of the encoder."""
    inside = name.removeprefix("encoder.")
    if inside == name or inside.startswith("neck."):
        return None
    block = _BLOCK.search(inside)
    if block:
        return int(block.group(1)) + 1
    return 0 if _FIRST.search(inside) else None


def rate_scales(module: nn.Module, config: OptimiserConfig) -> dict[str, float]:
    """Factor on the scheduled rate of every trainable parameter.

    decay^(layers between it and the encoder's output), times 1 / sqrt(fan-in) for weights of the equalised parts.
    """
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    depths = {name: encoder_depth(name) for name in trained}
    last = max((depth for depth in depths.values() if depth is not None), default=0) + 1
    scales = {}
    for name, value in trained.items():
        depth = depths[name]
        scales[name] = 1.0 if depth is None else config.layer_decay ** (last - depth)
        if name.endswith("weight") and value.dim() >= 2 and name.split(".")[0] in config.equalised:
            scales[name] /= math.sqrt(value[0].numel())
    return scales


def make_optimiser(module: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Adam or AdamW; each group carries `scale`, its factor on the scheduled rate."""
    scales = rate_scales(module, config)
    groups: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, value in module.named_parameters():
        if value.requires_grad:
            groups[scales[name]].append(value)
    described = [{"params": members, "scale": scale} for scale, members in sorted(groups.items())]
    if config.kind == "adamw":
        return torch.optim.AdamW(
            described, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
    return torch.optim.Adam(described, lr=config.learning_rate, betas=config.betas)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The scheduled rate, times each group's own factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]


def clip_gradients_(module: nn.Module, norm: float) -> float:
    """Scale all gradients together to at most this norm (0: leave them); returns the norm before."""
    parameters = [value for value in module.parameters() if value.grad is not None]
    limit = norm if norm > 0 else float("inf")
    return float(torch.nn.utils.clip_grad_norm_(parameters, limit))
