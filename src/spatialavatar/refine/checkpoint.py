"""The whole state of a refinement on disk, so that a stopped run goes on to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically

FORMAT = "spatialavatar-refine-checkpoint"
VERSION = 1


def write_checkpoint(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header, whole or not at all."""
    with write_atomically(path) as temporary:
        metadata = {"format": FORMAT, "version": str(VERSION), "header": json.dumps(header)}
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, temporary, metadata)


def read_checkpoint(path: Path, expected: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote.

    Args:
        path: The file.
        expected: Header entries that must agree (configuration, layout, sequence), or the run would not be the same.

    Raises:
        UserError: Missing, damaged, of another version, or of another run; says which entry differs.
    """
    hint = "Delete it, or start again without --resume."
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
            f"this is not a refinement checkpoint of version {VERSION} "
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


def generator_state(generator: torch.Generator) -> Tensor:
    """The state of a random generator as bytes."""
    return generator.get_state().clone()
