"""The whole state of a training run in one file, so that a killed run goes on to the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatialavatar.refine import checkpoint
from spatialavatar.refine.checkpoint import CheckpointKind

TRAINING = CheckpointKind(
    "spatialavatar-train-checkpoint",
    1,
    "training",
    "Start a new run in another folder, or give the command this run was started with.",
)


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header, whole or not at all."""
    # Safetensors wants memory of its own for every tensor.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    checkpoint.write_checkpoint(path, plain, header, TRAINING)


def read_checkpoint(path: Path, expected: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote; arguments and errors are those of `refine.checkpoint.read_checkpoint`."""
    return checkpoint.read_checkpoint(path, expected, TRAINING)


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state as named tensors: `optimiser.<parameter number>.<entry>`."""
    packed = {}
    for number, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            packed[f"optimiser.{number}.{name}"] = torch.as_tensor(value)
    return packed


def unpack_optimiser_(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse, into an optimiser over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def take(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below `prefix.`, without it."""
    return {key[len(prefix) + 1 :]: value for key, value in tensors.items() if key.startswith(prefix + ".")}
