"""The whole state of a training run in one file, so that a killed run goes on to the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically

FORMAT = "spatialavatar-train-checkpoint"
VERSION = 1


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header, whole or not at all."""
    with write_atomically(path) as temporary:
        metadata = {"format": FORMAT, "version": str(VERSION), "header": json.dumps(header)}
        # Safetensors wants memory of its own for every tensor.
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        save_file(plain, temporary, metadata)


def read_checkpoint(path: Path, expected: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote.

    Args:
        path: The file.
        expected: Header entries that must agree (configuration, layout, head, data), or it would be another run.

    Raises:
        UserError: Missing, damaged, of another version, or of another run; says which entry differs.
    """
    hint = "Start a new run in another folder, or give the command this run was started with."
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise UserError("there is no checkpoint to resume from.", where=path) from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"this checkpoint is damaged ({error}).", where=path, hint=hint) from None
    if metadata.get("format") != FORMAT or metadata.get("version") != str(VERSION):
        raise UserError(
            f"this is not a training checkpoint of version {VERSION} "
            f"(found {metadata.get('format')} version {metadata.get('version')}).",
            where=path,
            hint=hint,
        )
    header = json.loads(metadata["header"])
    for key, value in expected.items():
        if header.get(key) != value:
            raise UserError(
                f"this checkpoint belongs to another run: {key} was {header.get(key)!r} and is now {value!r}.",
                where=path,
                hint=hint,
            )
    return tensors, header


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
