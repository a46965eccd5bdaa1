"""Our own files inside safetensors: a documented header, tensors, and errors that say what is wrong with which key.

Both `.avatar` and `.motion.safetensors` are such files. The safetensors metadata holds three strings:
`format` (whose file it is), `version` (a whole number) and `header` (JSON). Nothing in it can run code.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically

if TYPE_CHECKING:
    import torch

_DAMAGED = "The file is damaged; make it again."
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000
_ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1}
_DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "U8": "uint8"}


@dataclass(frozen=True)
class Entry:
    """One tensor as the file's own header announces it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """What a file says about itself, read without reading its tensors."""

    path: Path
    format: str
    version: int
    header: dict[str, Any]
    entries: dict[str, Entry]


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
    path = Path(path)
    raw = _read_raw_header(path, what)
    metadata = raw.pop("__metadata__", {})
    entries = {name: _entry(path, name, value) for name, value in raw.items()}
    if not isinstance(metadata, dict) or metadata.get("format") != format:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise UserError(
            f"this is not {what}: its format is {found or 'not given'}, expected {format}.",
            where=path,
            hint=_kind_hint(found, entries),
        )
    version = _version(path, metadata.get("version"), newest, what)
    try:
        header = json.loads(metadata["header"])
        if not isinstance(header, dict):
            raise ValueError("it is no JSON object")
    except (KeyError, ValueError) as error:
        raise UserError(f"the header of this file cannot be read ({error!s}).", where=path) from None
    return Contents(path, format, version, header, entries)


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
    from safetensors import SafetensorError, safe_open

    for key, expected in shapes.items():
        if key not in contents.entries:
            raise UserError(
                f"the key '{key}' is missing.", where=contents.path, hint="The file is damaged; make it again."
            )
        entry = contents.entries[key]
        wanted = "F16" if key in halves else "F32"
        if entry.dtype != wanted:
            found = _DTYPE_NAMES.get(entry.dtype, entry.dtype)
            raise UserError(f"the key '{key}' is {found}; expected {_DTYPE_NAMES[wanted]}.", where=contents.path)
        fits = len(entry.shape) == len(expected) and all(
            want is None or want == have for want, have in zip(expected, entry.shape, strict=True)
        )
        if not fits:
            raise UserError(
                f"the key '{key}' has shape {_shape_text(entry.shape)}; expected {_shape_text(expected)}.",
                where=contents.path,
            )
    try:
        with safe_open(str(contents.path), framework="pt") as file:
            tensors = {key: file.get_tensor(key).to(torch.float32) for key in shapes}
    except (SafetensorError, OSError) as error:
        raise UserError(f"this file cannot be read ({error}).", where=contents.path) from None
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
    """The uint8 tensor `key` as bytes, or None where the file has none."""
    from safetensors import safe_open

    entry = contents.entries.get(key)
    if entry is None or entry.dtype != "U8":
        return None
    with safe_open(str(contents.path), framework="np") as file:
        return file.get_tensor(key).tobytes()


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
    from safetensors.torch import save

    metadata = {"format": format, "version": str(version), "header": json.dumps(header, ensure_ascii=False)}
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    content = save(plain, metadata)
    with write_atomically(path) as temporary:
        # Bytes through Python, not safetensors' own writer: a full disk is then an OSError with its number.
        temporary.write_bytes(content)


def looks_like_pickle(start: bytes) -> bool:
    """Whether a file that starts so is a pickle or a torch checkpoint (a zip of pickles)."""
    return start[:1] == b"\x80" or start[:2] == b"PK"


def _read_raw_header(path: Path, what: str) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            if looks_like_pickle(start) and not _plausible_length(start, size):
                raise UserError(
                    f"this is not {what} but a Python pickle or a checkpoint. It was not opened, because "
                    "opening it could run code.",
                    where=path,
                )
            length = int.from_bytes(start, "little")
            if len(start) == _LENGTH_BYTES and length <= _LONGEST_HEADER and size < _LENGTH_BYTES + length:
                _check_starts_like_json(file.read(1), path, what)
                raise _truncated(path, size, _LENGTH_BYTES + length)
            if len(start) < _LENGTH_BYTES or not 2 <= length <= _LONGEST_HEADER:
                raise _not_ours(path, what)
            text = file.read(length)
    except FileNotFoundError:
        raise UserError("there is no such file.", where=path) from None
    except IsADirectoryError:
        raise UserError(f"this is a folder; expected {what}.", where=path) from None
    except PermissionError:
        raise UserError("this file may not be read.", where=path) from None
    try:
        raw = json.loads(text)
    except ValueError:
        raise _not_ours(path, what) from None
    if not isinstance(raw, dict):
        raise _not_ours(path, what)
    announced = (
        _LENGTH_BYTES + length + max((_end(path, k, v) for k, v in raw.items() if k != "__metadata__"), default=0)
    )
    if size < announced:
        raise _truncated(path, size, announced)
    return raw


def _plausible_length(start: bytes, size: int) -> bool:
    return int.from_bytes(start, "little") + _LENGTH_BYTES <= size


def _check_starts_like_json(first: bytes, path: Path, what: str) -> None:
    if first not in (b"{", b""):
        raise _not_ours(path, what)


def _not_ours(path: Path, what: str) -> UserError:
    return UserError(f"this is not {what}: it is no safetensors file.", where=path)


def _truncated(path: Path, size: int, announced: int) -> UserError:
    return UserError(
        f"this file is cut short: it has {size:,} bytes and announces {announced:,}.",
        where=path,
        hint="Copy or download it again.",
    )


def _entry(path: Path, name: str, value: Any) -> Entry:
    _end(path, name, value)
    entry = Entry(str(value["dtype"]), tuple(int(length) for length in value["shape"]))
    start, end = value["data_offsets"]
    item = _ITEM_BYTES.get(entry.dtype)
    if item is not None and math.prod(entry.shape) * item != end - start:
        raise UserError(f"the size of the key '{name}' does not agree with its shape.", where=path)
    return entry


def _end(path: Path, name: str, value: Any) -> int:
    try:
        start, end = value["data_offsets"]
        if not (0 <= start <= end) or "dtype" not in value or "shape" not in value:
            raise ValueError
        return int(end)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"the header entry of the key '{name}' is damaged.", where=path) from None


def _version(path: Path, text: Any, newest: int, what: str) -> int:
    try:
        version = int(text)
    except (TypeError, ValueError):
        raise UserError(f"the version of this file is '{text}'; expected a whole number.", where=path) from None
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
