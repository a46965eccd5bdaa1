"""Our own files inside safetensors: a documented header, tensors, and errors that say what is wrong with which key.

Both `.avatar` and `.motion.safetensors` are such files. The safetensors metadata holds three strings:
`format` (whose file it is), `version` (a whole number) and `header` (JSON). Nothing in it can run code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatialavatar.errors import UserError
from spatialavatar.input_files import parse_json
from spatialavatar.tensor_file import DTYPE_NAMES, Entry, TensorFile, open_tensors, write_tensors
from spatialavatar.tensor_file import read_tensors as read_any_tensors
from spatialavatar.text import printable

if TYPE_CHECKING:
    import torch

_DAMAGED = "The file is damaged; make it again."
_LARGEST_PICTURE = 64 << 20
"""Bytes of a preview picture; ours take 0.1 MB."""


@dataclass(frozen=True)
class Contents:
    """What a file says about itself, read without reading its tensors."""

    path: Path
    format: str
    version: int
    header: dict[str, Any]
    file: TensorFile

    @property
    def entries(self) -> dict[str, Entry]:
        """Its tensors, by key."""
        return self.file.entries


def read_contents(path: str | os.PathLike[str], *, format: str, newest: int, what: str) -> Contents:
    """Read and check the header of one of our files; no tensor is read.

    Args:
        format: The value that the metadata key `format` must have.
        newest: The newest version this program understands.
        what: What the file should be, for messages, such as "an avatar".

    Raises:
        UserError: It is missing, is no safetensors file, is truncated, is another kind of file, or is newer than
            this program.
    """
    file = open_tensors(path, what)
    path, metadata = file.path, file.metadata
    found = metadata.get("format")
    if found != format:
        shown = "not given" if found is None else printable(found, 60)
        raise UserError(
            f"this is not {what}: its format is {shown}, expected {format}.",
            where=path,
            hint=_kind_hint(found, file.entries),
        )
    version = _version(path, metadata.get("version"), newest, what)
    if "header" not in metadata:
        raise UserError("the header of this file is missing.", where=path, hint=_DAMAGED)
    try:
        header = parse_json(metadata["header"], path, strict=True)
    except UserError as error:
        raise UserError(f"the header of this file cannot be read: {error.what}", where=path, hint=_DAMAGED) from None
    if not isinstance(header, dict):
        raise UserError("the header of this file is not a JSON object.", where=path, hint=_DAMAGED)
    return Contents(path, format, version, header, file)


def check_tensors(
    contents: Contents, shapes: Mapping[str, tuple[int | None, ...]], halves: Collection[str] = ()
) -> None:
    """Compare the tensors that a file announces with what they must be; none is read.

    Args:
        shapes: Expected shape per key; None stands for any length.
        halves: Keys that must be float16; all others must be float32.

    Raises:
        UserError: A key is missing, or has the wrong dtype or shape.
    """
    for key, expected in shapes.items():
        if key not in contents.entries:
            raise UserError(f"the key '{key}' is missing.", where=contents.path, hint=_DAMAGED)
        entry = contents.entries[key]
        wanted = "F16" if key in halves else "F32"
        if entry.dtype != wanted:
            found = DTYPE_NAMES.get(entry.dtype, entry.dtype)
            raise UserError(f"the key '{key}' is {found}; expected {DTYPE_NAMES[wanted]}.", where=contents.path)
        fits = len(entry.shape) == len(expected) and all(
            want is None or want == have for want, have in zip(expected, entry.shape, strict=True)
        )
        if not fits:
            raise UserError(
                f"the key '{key}' has shape {_shape_text(entry.shape)}; expected {_shape_text(expected)}.",
                where=contents.path,
            )


def read_tensors(
    contents: Contents, shapes: Mapping[str, tuple[int | None, ...]], halves: Collection[str] = ()
) -> dict[str, torch.Tensor]:
    """Read tensors, as float32, and check each against its expected shape.

    Args:
        shapes: Expected shape per key; None stands for any length.
        halves: Keys that are kept as float16; all others are float32.

    Raises:
        UserError: A key is missing, has the wrong dtype or shape, or holds values that are not finite.
    """
    import torch

    check_tensors(contents, shapes, halves)
    tensors = {key: tensor.to(torch.float32) for key, tensor in read_any_tensors(contents.file, shapes).items()}
    for key, tensor in tensors.items():
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            raise UserError(
                f"the key '{key}' holds NaN or infinite values ({broken} of {tensor.numel()}).",
                where=contents.path,
                hint=_DAMAGED,
            )
    return tensors


def read_bytes(contents: Contents, key: str) -> bytes | None:
    """The uint8 tensor `key` as bytes, or None where the file has none.

    Raises:
        UserError: It cannot be read, or is far too large for a picture.
    """
    entry = contents.entries.get(key)
    if entry is None or entry.dtype != "U8":
        return None
    if entry.end - entry.start > _LARGEST_PICTURE:
        raise UserError(f"the key '{key}' is too large for a picture.", where=contents.path)
    return read_any_tensors(contents.file, [key])[key].numpy().tobytes()


def write_contents(
    path: str | os.PathLike[str],
    *,
    format: str,
    version: int,
    header: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
) -> None:
    """Write one of our files, whole or not at all.

    Raises:
        UserError: It cannot be written (no space, no such folder, not allowed).
    """
    metadata = {"format": format, "version": str(version), "header": json.dumps(header, ensure_ascii=False)}
    write_tensors(path, tensors, metadata)


def _version(path: Path, text: Any, newest: int, what: str) -> int:
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 9:
        shown = printable(str(text), 60)
        raise UserError(f"the version of this file is '{shown}'; expected a whole number.", where=path)
    version = int(text)
    if version > newest:
        raise UserError(
            f"this file was made by a newer version of SpatialAvatar (file version {version}; this program reads up "
            f"to {newest}).",
            where=path,
            hint="Update with: pip install --upgrade spatialavatar",
        )
    if version < 1:
        raise UserError(f"the version of this file is {version}; versions of {what} start at 1.", where=path)
    return version


def _kind_hint(found: Any, entries: Mapping[str, Entry]) -> str | None:
    if found == "spatialavatar-motion":
        return "It is a motion: give it to `spatialavatar render me.avatar --drive`."
    if found == "spatialavatar-avatar":
        return "It is an avatar: look at it with `spatialavatar info`."
    if {"camera_from_world", "intrinsics"} <= entries.keys():
        return "It is part of a tracked folder: give the folder itself."
    return None


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"
