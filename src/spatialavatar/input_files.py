"""Files that somebody else may have written, read with a bound on their size and with messages for people.

Whatever a parser raises becomes a UserError here, so that no caller keeps a list of exceptions of its own.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatialavatar.errors import UserError
from spatialavatar.text import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_TEXT = 256 << 20
"""Bytes; the largest JSON or CSV file that is read. A frame takes about 1 kB in either."""

LARGEST_ARRAYS = 2 << 30
"""Bytes; the most that arrays of one .npz may take. FLAME 2023 takes 0.3 GB."""

MOST_CONTAINERS, MOST_VALUES = 4 << 20, 32 << 20
"""Lists and objects, and values, of one JSON file: parsed, either takes up to about 1 GB. A frame of VHAP takes 6 and
40, so that sixteen cameras with 40,000 frames each fit."""

_MOST_PACKED = 1032
"""How many times smaller Deflate makes anything, at most: so much more a small file can be, whatever it says."""

_LAST_CHARACTER = 0x10FFFF
"""Of Unicode."""


def check_regular_file(path: str | os.PathLike[str]) -> int:
    """The size of a file in bytes.

    Raises:
        UserError: It is missing, cannot be looked at, or is a folder, a pipe or a device, which may have no end.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise UserError("this file is missing.", where=path) from None
    except (OSError, ValueError) as error:
        # ValueError: a NUL or a lone surrogate in the name.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"this file cannot be read ({reason}).", where=path) from None
    if stat.S_ISDIR(found.st_mode):
        raise UserError("this is a folder, a file was expected.", where=path)
    if not stat.S_ISREG(found.st_mode):
        raise UserError("this is not a regular file.", where=path)
    return found.st_size


def read_bytes(path: str | os.PathLike[str], max_bytes: int = LARGEST_TEXT) -> bytes:
    """The content of a file somebody else may have written.

    Args:
        path: The file.
        max_bytes: The most that is read.

    Raises:
        UserError: It is missing, is a folder or a device, may not be read, or is larger than `max_bytes`.
    """
    size = check_regular_file(path)
    if size > max_bytes:
        raise UserError(f"this file is too large: {size:,} bytes, expected at most {max_bytes:,}.", where=path)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"this file cannot be read ({error.strerror}).", where=path) from None


def read_text(path: str | os.PathLike[str], max_bytes: int = LARGEST_TEXT) -> str:
    """A UTF-8 text file, with or without a byte order mark.

    Raises:
        UserError: As `read_bytes`; or it is not UTF-8.
    """
    try:
        return read_bytes(path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"this file is not UTF-8 text ({error}).", where=path) from None


def read_json(path: str | os.PathLike[str], max_bytes: int = LARGEST_TEXT, *, strict: bool = False) -> Any:
    """Read a JSON file.

    Raises:
        UserError: As `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, max_bytes), path, strict=strict)


def parse_json(text: str | bytes, where: str | os.PathLike[str], *, strict: bool = False) -> Any:
    """JSON from text that somebody else may have written.

    Args:
        text: The JSON.
        where: What messages call it.
        strict: As our own files are: all numbers are finite and whole ones fit 64 bits. Others write NaN where they
            found nothing.

    Raises:
        UserError: It is not JSON, is nested too deeply, or has more values than any set of frames.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        if text.count("[") + text.count("{") > MOST_CONTAINERS or text.count(",") > MOST_VALUES:
            raise UserError("this JSON holds too many values.", where=where)
        if strict:
            found = json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=_finite)
        else:
            found = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            # Half of a surrogate pair is no character: it could be neither written to a file nor shown.
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        return found
    except RecursionError:
        raise UserError("this JSON is nested too deeply.", where=where) from None
    except ValueError as error:  # UnicodeError and JSONDecodeError among them
        raise UserError(f"this is not valid JSON ({_reason(error)}).", where=where) from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{text[:20]}... is too large a number")
    return value


def is_whole(value: object, lowest: int, highest: int) -> bool:
    """Whether a value out of a JSON file is a whole number in this range; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def read_npz(
    path: str | os.PathLike[str],
    keys: Collection[str] | None = None,
    max_bytes: int = LARGEST_ARRAYS,
    objects: Callable[[bytes, str], NDArray[Any]] | None = None,
) -> dict[str, NDArray[Any]]:
    """The plain arrays of a .npz file that somebody else may have written.

    Sizes are checked as the archive and each array's own header declare them, before anything is decompressed.

    Args:
        path: The file.
        keys: Read these only, as far as they are there; None reads all.
        max_bytes: The most that the arrays read may take together.
        objects: Reads an array of Python objects, given its bytes and its key; None refuses them.

    Raises:
        UserError: It is missing, is not such a file, is damaged, holds Python objects, or is too large.
    """
    length = check_regular_file(path)
    arrays: dict[str, NDArray[Any]] = {}
    left = max_bytes
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if keys is not None and key not in keys:
                    continue
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # NumPy writes no others, and some reserve as much memory as the file tells them to.
                    raise UserError(f"the key '{key}' is compressed in a way that is not read.", where=path)
                packed = 1 if info.compress_type == zipfile.ZIP_STORED else _MOST_PACKED
                if info.compress_size > length or info.file_size > info.compress_size * packed + _MOST_PACKED:
                    raise UserError(f"the size of the key '{key}' does not agree with the file's.", where=path)
                with archive.open(info) as member:
                    shape, by_columns, dtype = _npy_header(member)
                    if dtype.hasobject and objects is not None:
                        if info.file_size > left:
                            raise UserError(f"the key '{key}' is too large.", where=path)
                        left -= info.file_size
                        arrays[key] = objects(member.read(), key)
                        continue
                    if dtype.hasobject:
                        raise UserError(
                            f"the key '{key}' holds Python objects, which are not read: they could run code.",
                            where=path,
                        )
                    size = math.prod(shape) * dtype.itemsize
                    if max(size, info.file_size) > left:
                        raise UserError(
                            f"the key '{key}' is too large: an array {printable(f'{dtype} {shape}', 80)}, expected "
                            f"at most {max_bytes:,} bytes in all.",
                            where=path,
                        )
                    if size > info.file_size:
                        raise UserError(f"the key '{key}' is cut short.", where=path)
                    left -= size
                    arrays[key] = _npy_array(member, shape, by_columns, dtype)
    except UserError:
        raise
    except MemoryError:
        raise UserError("there is not enough memory to read this file.", where=path) from None
    except Exception as error:
        # Bytes of a damaged archive can fail anywhere in the parsers of zip, of the header and of its literals.
        raise UserError(f"this is not a readable npz file of plain arrays ({_reason(error)}).", where=path) from None
    return arrays


def _reason(error: Exception) -> str:
    """What a parser says, without what it quotes of the file at length or in control characters."""
    return printable(" ".join(str(error).split()), 200)


def _npy_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and dtype of the .npy that begins here."""
    import numpy as np

    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(member)
    if any(not 0 <= length < 1 << 40 for length in shape):
        raise ValueError(f"an array of the shape {shape}")
    return shape, by_columns, dtype


def _npy_array(member: Any, shape: tuple[int, ...], by_columns: bool, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array that follows such a header.

    Raises:
        ValueError: It is cut short, or holds what are no characters.
    """
    import numpy as np

    content = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    filled = 0
    while filled < len(content):
        count = member.readinto(content.data[filled:])
        if not count:
            raise ValueError("cut short")
        filled += count
    array = np.ndarray(shape, dtype, content.data, order="F" if by_columns else "C")
    check_characters(array)
    return array


def check_characters(array: NDArray[Any]) -> None:
    """Raises ValueError for an array of text that holds numbers which are no characters: those end Python's own reading
    of them with errors of many kinds."""
    if array.dtype.kind == "U" and array.size:
        codes = array.reshape(-1, order="A").view(array.dtype.byteorder + "u4")
        if int(codes.max()) > _LAST_CHARACTER or bool(((codes >= 0xD800) & (codes < 0xE000)).any()):
            raise ValueError("text with what are no characters")
