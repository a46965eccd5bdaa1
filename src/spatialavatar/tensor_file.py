"""safetensors files that somebody else may have written: headers are checked, tensors are read as copies.

The library maps the file, and its tensors stay in that mapping: when the file is cut or written over while they are in
use, they change or the process ends with a signal. Here each tensor has memory of its own, and no more is reserved
than the file has bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically
from spatialavatar.input_files import check_regular_file, is_whole, parse_json

if TYPE_CHECKING:
    import torch

LONGEST_HEADER = 8 << 20
"""Bytes. A header of 1,000 tensors takes 0.1 MB; parsed, 8 MB of the densest JSON take less than 200 MB of memory."""

_LENGTH_BYTES = 8
_MOST_AXES = 8
_ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1}
DTYPE_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""Of safetensors -> of torch."""


@dataclass(frozen=True)
class Entry:
    """One tensor as the file's header announces it; `start` and `end` in bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class TensorFile:
    """What a file says about itself, read without reading its tensors; `data` is where these begin, in bytes."""

    path: Path
    metadata: dict[str, str]
    entries: dict[str, Entry]
    data: int


def open_tensors(path: str | os.PathLike[str], what: str = "a safetensors file") -> TensorFile:
    """Read and check a file's header.

    Args:
        path: The file.
        what: What the file should be, for messages, such as "an avatar".

    Raises:
        UserError: It is missing, is no regular file, no safetensors file, is cut short or contradicts itself.
    """
    path = Path(path)
    size = check_regular_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            if looks_like_pickle(start) and _LENGTH_BYTES + length > size:
                raise UserError(
                    f"this is not {what} but a Python pickle or a checkpoint. It was not opened, because "
                    "opening it could run code.",
                    where=path,
                )
            if len(start) < _LENGTH_BYTES or not 2 <= length <= LONGEST_HEADER:
                raise _not_ours(path, what)
            if size < _LENGTH_BYTES + length:
                if file.read(1) not in (b"{", b""):
                    raise _not_ours(path, what)
                raise _truncated(path, size, _LENGTH_BYTES + length)
            text = file.read(length)
    except OSError as error:
        raise UserError(f"this file cannot be read ({error.strerror}).", where=path) from None
    try:
        raw = parse_json(text, path)
    except UserError:
        raw = None
    if not isinstance(raw, dict):
        raise _not_ours(path, what)
    metadata = raw.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UserError("the metadata of this file are damaged: expected texts by name.", where=path)
    entries = {name: _entry(path, name, value) for name, value in raw.items()}
    data = _LENGTH_BYTES + length
    announced = data + max((entry.end for entry in entries.values()), default=0)
    if size < announced:
        raise _truncated(path, size, announced)
    if sum(entry.end - entry.start for entry in entries.values()) > size - data:
        raise UserError("the header of this file gives several keys the same bytes.", where=path)
    return TensorFile(path, metadata, entries, data)


def read_tensors(file: TensorFile, keys: Collection[str] | None = None) -> dict[str, torch.Tensor]:
    """The tensors of these keys, or of all, each in memory of its own.

    Raises:
        UserError: A key is missing, is of a kind that is not read, or the file has been cut since it was opened.
    """
    import torch

    tensors: dict[str, torch.Tensor] = {}
    try:
        with file.path.open("rb") as stream:
            for key in file.entries if keys is None else keys:
                if key not in file.entries:
                    raise UserError(f"the key '{key}' is missing.", where=file.path)
                entry = file.entries[key]
                if entry.dtype not in _ITEM_BYTES:
                    raise UserError(
                        f"the key '{key}' is of the kind {entry.dtype}, which is not read.", where=file.path
                    )
                dtype = getattr(torch, DTYPE_NAMES[entry.dtype])
                content = torch.empty(entry.end - entry.start, dtype=torch.uint8)
                stream.seek(file.data + entry.start)
                if stream.readinto(content.numpy().data) != len(content):
                    raise UserError(f"the key '{key}' is cut short.", where=file.path)
                tensors[key] = (content != 0 if dtype is torch.bool else content.view(dtype)).reshape(entry.shape)
    except OSError as error:
        raise UserError(f"this file cannot be read ({error.strerror}).", where=file.path) from None
    except MemoryError:
        raise UserError("there is not enough memory to read this file.", where=file.path) from None
    return tensors


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        UserError: It cannot be written (no space, no such folder, not allowed).
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}, dict(metadata))
    with write_atomically(path) as temporary:
        # Bytes through Python, not the library's own writer: that one makes files that only their owner may read, and
        # a full disk is an OSError with its number here.
        temporary.write_bytes(content)


def looks_like_pickle(start: bytes) -> bool:
    """Whether a file that starts so is a pickle or a torch checkpoint (a zip of pickles)."""
    return start[:1] == b"\x80" or start[:2] == b"PK"


def _entry(path: Path, name: str, value: Any) -> Entry:
    """One entry of the header; its size must agree with its shape."""
    if isinstance(value, dict):
        dtype, shape, offsets = (value.get(key) for key in ("dtype", "shape", "data_offsets"))
        if isinstance(dtype, str) and _are_lengths(shape) and _are_lengths(offsets) and len(offsets) == 2:
            start, end = offsets
            if len(shape) <= _MOST_AXES and start <= end:
                item = _ITEM_BYTES.get(dtype)
                if item is not None and math.prod(shape) * item != end - start:
                    raise UserError(f"the size of the key '{name}' does not agree with its shape.", where=path)
                return Entry(dtype, tuple(shape), start, end)
    raise UserError(f"the header entry of the key '{name}' is damaged.", where=path)


def _are_lengths(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(is_whole(length, 0, 1 << 48) for length in value)


def _not_ours(path: Path, what: str) -> UserError:
    return UserError(f"this is not {what}: it is no safetensors file.", where=path)


def _truncated(path: Path, size: int, announced: int) -> UserError:
    return UserError(
        f"this file is cut short: it has {size:,} bytes and announces {announced:,}.",
        where=path,
        hint="Copy or download it again.",
    )
