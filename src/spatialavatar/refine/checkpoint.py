"""The whole state of a run on disk, so that a stopped one goes on to the same numbers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically
from spatialavatar.input_files import parse_json
from spatialavatar.refine.checkpoint_header import FORMAT
from spatialavatar.tensor_file import open_tensors, read_tensors
from spatialavatar.text import printable


@dataclass(frozen=True)
class CheckpointKind:
    """Whose state a file holds: its format and version, what people call it, and what to do with another's."""

    format: str
    version: int
    name: str
    hint: str


REFINEMENT = CheckpointKind(FORMAT, 3, "refinement", "Delete it, or start again without --resume.")


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
        UserError: Missing, damaged, of another version, or of another run; says which entry differs. Also when a
            tensor or entry is asked for that it does not hold.
    """
    if not path.exists():
        raise UserError("there is no checkpoint to resume from.", where=path)
    try:
        file = open_tensors(path, f"a {kind.name} checkpoint")
        found = {key: file.metadata.get(key) for key in ("format", "version")}
        if found != {"format": kind.format, "version": str(kind.version)}:
            raise UserError(
                f"this is not a {kind.name} checkpoint of version {kind.version} (found "
                f"{printable(str(found['format']), 60)} version {printable(str(found['version']), 20)}).",
                where=path,
            )
        header = parse_json(file.metadata.get("header", ""), path)
        if not isinstance(header, dict):
            raise UserError("the header of this file is missing or damaged.", where=path)
        tensors = read_tensors(file)
    except UserError as error:
        raise UserError(error.what, where=path, hint=kind.hint) from None
    for key, value in expected.items():
        if header.get(key) != value:
            raise UserError(
                f"this checkpoint belongs to another run: {key} was {header.get(key)!r} and is now {value!r}.",
                where=path,
                hint=kind.hint,
            )
    return _Named(tensors, path, kind), _Named(header, path, kind)


class _Named(dict[str, Any]):
    """What a checkpoint holds, by name; a name that is not there is an error for people."""

    def __init__(self, values: Mapping[str, Any], path: Path, kind: CheckpointKind):
        super().__init__(values)
        self._path, self._kind = path, kind

    def __missing__(self, key: str) -> Any:
        what = f"this checkpoint is damaged (the key '{key}' is missing)."
        raise UserError(what, where=self._path, hint=self._kind.hint)


@contextlib.contextmanager
def restoring(path: Path, kind: CheckpointKind = REFINEMENT) -> Iterator[None]:
    """Around code that puts a checkpoint's values back: those that do not fit are an error for people.

    Raises:
        UserError: In place of what torch and Python raise.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"this checkpoint is damaged ({reason}).", where=path, hint=kind.hint) from None


def check_like(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], path: Path) -> None:
    """Compare a checkpoint's tensors with those that the run has now: torch would stretch some shapes silently.

    Raises:
        UserError: One of both has another shape or kind, or values that are not finite.
    """
    for name, wanted in like.items():
        found = tensors.get(name)
        if found is not None and (found.shape != wanted.shape or found.dtype != wanted.dtype):
            raise UserError(
                f"this checkpoint is damaged ('{name}' is {found.dtype} {tuple(found.shape)}; expected {wanted.dtype} "
                f"{tuple(wanted.shape)}).",
                where=path,
                hint=REFINEMENT.hint,
            )
        if found is not None and found.is_floating_point() and not bool(torch.isfinite(found).all()):
            what = f"this checkpoint is damaged ('{name}' is not finite)."
            raise UserError(what, where=path, hint=REFINEMENT.hint)


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
