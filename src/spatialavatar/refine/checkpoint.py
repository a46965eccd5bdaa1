"""The whole state of a run on disk, so that a stopped one goes on to the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically


@dataclass(frozen=True)
class CheckpointKind:
    """Whose state a file holds: its format and version, what people call it, and what to do with another's."""

    format: str
    version: int
    name: str
    hint: str


REFINEMENT = CheckpointKind(
    "spatialavatar-refine-checkpoint", 3, "refinement", "Delete it, or start again without --resume."
)


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any], kind: CheckpointKind = REFINEMENT
) -> None:
    """Write tensors and a JSON header, whole or not at all."""
    with write_atomically(path) as temporary:
        metadata = {"format": kind.format, "version": str(kind.version), "header": json.dumps(header)}
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, temporary, metadata)


def read_checkpoint(
    path: Path, expected: Mapping[str, Any], kind: CheckpointKind = REFINEMENT
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote.

    Args:
        path: The file.
        expected: Header entries that must agree (configuration, layout, data), or it would be another run.
        kind: Whose checkpoint it must be.

    Raises:
        UserError: Missing, damaged, of another version, or of another run; says which entry differs.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise UserError("there is no checkpoint to resume from.", where=path) from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"this checkpoint is damaged ({error}).", where=path, hint=kind.hint) from None
    if metadata.get("format") != kind.format or metadata.get("version") != str(kind.version):
        raise UserError(
            f"this is not a {kind.name} checkpoint of version {kind.version} "
            f"(found {metadata.get('format')} version {metadata.get('version')}).",
            where=path,
            hint=kind.hint,
        )
    try:
        header = json.loads(metadata.get("header", ""))
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise UserError("this checkpoint is damaged (it has no header).", where=path, hint=kind.hint)
    for key, value in expected.items():
        if header.get(key) != value:
            raise UserError(
                f"this checkpoint belongs to another run: {key} was {header.get(key)!r} and is now {value!r}.",
                where=path,
                hint=kind.hint,
            )
    return _Complete(tensors, path, kind), _Complete(header, path, kind)


class _Complete(dict[str, Any]):
    """Of a checkpoint's contents a key that is missing is the user's to hear of, and not a bug."""

    def __init__(self, contents: Mapping[str, Any], path: Path, kind: CheckpointKind):
        super().__init__(contents)
        self.path, self.kind = path, kind

    def __missing__(self, key: str) -> Any:
        raise UserError(
            f"this checkpoint is damaged (the key '{key}' is missing).", where=self.path, hint=self.kind.hint
        )


def iteration_of(path: Path) -> int | None:
    """After how many iterations a refinement's checkpoint was written; None where there is none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return int(json.loads(metadata["header"])["iteration"]) if metadata.get("format") == REFINEMENT.format else None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def generator_state(generator: torch.Generator) -> Tensor:
    """The state of a random generator as bytes."""
    return generator.get_state().clone()


def adam_state(optimiser: torch.optim.Optimizer, value: Tensor, ending: str = "") -> dict[str, Tensor]:
    """What Adam knows of one parameter, under names that end so; nothing before its first step."""
    state = optimiser.state.get(value)
    if not state:
        return {}
    found = {"first_moment": state["exp_avg"], "second_moment": state["exp_avg_sq"], "step": state["step"].reshape(1)}
    return {name + ending: tensor for name, tensor in found.items()}


def restore_adam(
    optimiser: torch.optim.Optimizer, value: Tensor, tensors: Mapping[str, Tensor], ending: str = ""
) -> None:
    """Give Adam back what `adam_state` took."""
    if f"step{ending}" in tensors:
        optimiser.state[value] = {
            "step": tensors[f"step{ending}"][0].clone(),
            "exp_avg": tensors[f"first_moment{ending}"],
            "exp_avg_sq": tensors[f"second_moment{ending}"],
        }
