"""Model files of other people, read without running what is in them.

FLAME comes as a Python 2 pickle that holds numpy arrays, scipy's sparse matrices and arrays of the abandoned package
chumpy. A pickle can name any function to be called, so this reader admits exactly those and refuses everything else
by name. None of these objects is built the way the file says: stand-ins take their numbers, so that not even an array
with forged flags gets through.
"""

from __future__ import annotations

import contextvars
import io
import pickle
import re
import struct
from collections.abc import Callable, Collection
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spatialavatar.errors import UserError
from spatialavatar.input_files import LARGEST_ARRAYS, check_characters, check_regular_file, read_bytes, read_npz
from spatialavatar.text import printable

_TIMES_ITS_LENGTH, _AND_BYTES = 8, 64 << 20
"""A pickle's arrays take no more memory than so many times its own length, and so many bytes: its sparse matrices grow
to dense ones, of FLAME's 0.2 MB, and a short pickle may name one array again and again."""
_MOST_VALUES = 20_000_000
"""Values of a pickle's lists and dictionaries, those that it names twice counted twice."""


class _Budget:
    """How many bytes the arrays of the pickle that is being read may still take."""

    def __init__(self, length: int):
        self.left = _TIMES_ITS_LENGTH * length + _AND_BYTES

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise pickle.UnpicklingError("its arrays are far larger than the file")


_budget: contextvars.ContextVar[_Budget] = contextvars.ContextVar("budget")


class _StandIn:
    """Keeps the numbers of an object that is never built."""

    array: np.ndarray | None = None
    entries: list[Any] | None = None
    """Of an array of objects; `array` is empty then, and of its shape."""


class _Array(_StandIn):
    """Stands in for `numpy.ndarray`. Its own unpickling trusts the file about memory, which a file can abuse."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_columns, data = state
        if isinstance(data, list):
            if not _checked_dtype(dtype).hasobject:
                raise pickle.UnpicklingError("an array of numbers written as a list")
            _budget.get().take(8 * len(data))
            self.entries = data
            # By rows whatever it says: so NumPy writes and reads such lists.
            self.array = np.empty(len(data), dtype=object).reshape(shape)
        else:
            self.array = _numbers(data, dtype, shape, "F" if by_columns else "C")


class _Dtype:
    """Stands in for `numpy.dtype`: a kind, a size and a byte order, and no flags."""

    def __init__(self, name: Any, *_: Any):
        if not isinstance(name, str) or not re.fullmatch(r"[biufcSU?O]\d*", name):
            raise pickle.UnpicklingError(f"an array of {name!r}")
        self.name, self.order = name, ""

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        self.order = order if order in ("<", ">") else ""

    def dtype(self) -> np.dtype:
        return np.dtype(self.order + self.name)


def _checked_dtype(dtype: Any) -> np.dtype:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array without a type")
    return dtype.dtype()


def _numbers(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array of numbers from its bytes, which Python 2 wrote as text."""
    if not isinstance(data, (str, bytes, bytearray)):
        raise pickle.UnpicklingError(f"an array whose bytes are {type(data).__name__}")
    _budget.get().take(len(data))
    raw = data.encode("latin1") if isinstance(data, str) else data
    checked = _checked_dtype(dtype)
    if checked.hasobject:
        raise pickle.UnpicklingError("objects written as bytes")
    array = np.frombuffer(raw, checked).reshape(shape, order="F" if order == "F" else "C").copy()
    check_characters(array)
    return array


def _reconstruct(kind: Any, *_: Any) -> _Array:
    """`numpy.core.multiarray._reconstruct`: an empty array that `__setstate__` fills."""
    if kind is not _Array:
        raise pickle.UnpicklingError(f"an array of the kind {kind!r}")
    return _Array()


def _scalar(dtype: Any, data: Any) -> _Array:
    """`numpy.core.multiarray.scalar`: one number."""
    return _from_buffer(data, dtype, ())


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> _Array:
    """`numpy.core.numeric._frombuffer`, which protocol 5 uses."""
    made = _Array()
    made.array = _numbers(data, dtype, shape, order)
    return made


class _Chumpy(_StandIn):
    """Stands in for `chumpy.ch.Ch`, which wraps an array as its attribute x."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not isinstance(state.get("x"), _StandIn):
            raise pickle.UnpicklingError("a chumpy array without its numbers")
        self.array = state["x"].array


class _Sparse(_StandIn):
    """Stands in for scipy's matrices in compressed rows or columns."""

    by_rows: bool

    def __setstate__(self, state: Any) -> None:
        data, indices, pointers = (np.asarray(_plain(state[key])) for key in ("data", "indices", "indptr"))
        rows, columns = (int(n) for n in _plain(state["_shape"] if "_shape" in state else state["shape"]))
        lines, others = (rows, columns) if self.by_rows else (columns, rows)
        if not all(part.ndim == 1 and part.dtype.kind in "iu" for part in (indices, pointers)):
            raise pickle.UnpicklingError("a sparse matrix without indices")
        if data.shape != indices.shape or data.dtype.kind not in "biuf" or min(rows, columns) < 0:
            raise pickle.UnpicklingError("a sparse matrix without numbers")
        counts: np.ndarray = pointers[1:].astype(np.int64) - pointers[:-1].astype(np.int64)
        if len(pointers) != lines + 1 or (counts < 0).any() or counts.sum() != len(data):
            raise pickle.UnpicklingError("a sparse matrix whose rows do not fit its numbers")
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < others:
            raise pickle.UnpicklingError("a sparse matrix with indices beyond its size")
        _budget.get().take(rows * columns * data.dtype.itemsize)
        line = np.repeat(np.arange(lines), counts)
        array = np.zeros((rows, columns), data.dtype)
        # Entries may repeat; scipy adds them.
        np.add.at(array, (line, indices) if self.by_rows else (indices, line), data)
        self.array = array


class _SparseRows(_Sparse):
    by_rows = True


class _SparseColumns(_Sparse):
    by_rows = False


def _encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode` as far as numpy's pickles use it: bytes written as text."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    _budget.get().take(len(text))
    return text.encode("latin1")


def _new_object(kind: Any, base: Any, *_: Any) -> Any:
    """`copyreg._reconstructor` for the stand-ins only."""
    if kind not in (_Chumpy, _SparseRows, _SparseColumns) or base is not object:
        raise pickle.UnpicklingError(f"an object of the kind {kind!r}")
    return object.__new__(kind)


class _Function:
    """A function that a pickle may call, and can do nothing else to: a plain one has attributes that can be set."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]):
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("a function that is changed")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function that is changed")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Function(_encode),
    ("copyreg", "_reconstructor"): _Function(_new_object),
    ("builtins", "object"): object,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy", "Ch"): _Chumpy,
    ("scipy.sparse.csc", "csc_matrix"): _SparseColumns,
    ("scipy.sparse._csc", "csc_matrix"): _SparseColumns,
    ("scipy.sparse.csr", "csr_matrix"): _SparseRows,
    ("scipy.sparse._csr", "csr_matrix"): _SparseRows,
}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _Function(_reconstruct)
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _Function(_scalar)
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _Function(_from_buffer)


class _Refused(Exception):
    """A pickle asked for something that no model file needs."""


class _RestrictedUnpickler(pickle._Unpickler):
    """The standard library's unpickler that is written in Python.

    The one in C reserves a table for the highest number under which an object is remembered, and room for as many bytes
    as an instruction announces; and where a frame ends early it reads lengths out of what lies behind it in memory.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def _load_bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray

    def find_class(self, module: str, name: str) -> Any:
        # As Python 2 calls them.
        module = {"copy_reg": "copyreg", "__builtin__": "builtins"}.get(module, module)
        if (module, name) not in _ADMITTED:
            raise _Refused(f"{module}.{name}")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"the outside object {pid!r}")


def restricted_load(content: bytes, where: str | PathLike[str]) -> Any:
    """Unpickle numbers, text, containers, numpy arrays, and arrays of scipy.sparse and chumpy as numpy arrays.

    Args:
        content: The pickle.
        where: What to call it in messages.

    Raises:
        UserError: It asks for anything else, is cut short, is no pickle, or would take far more memory than it is long.
    """
    token = _budget.set(_Budget(len(content)))
    try:
        return _plain(_RestrictedUnpickler(io.BytesIO(content), encoding="latin1").load())
    except _Refused as refused:
        raise UserError(
            f"this file asks to load {printable(str(refused), 100)}, which no model file needs; nothing of it was run.",
            where=where,
            hint="Take the file from its original source.",
        ) from None
    except MemoryError:
        raise UserError("there is not enough memory to read this file.", where=where) from None
    except (EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"this file is cut short or damaged ({printable(str(error), 100)}).", where=where) from None
    except Exception as error:
        # The bytes of a damaged pickle can fail anywhere.
        raise UserError(
            f"this file is no readable model file ({type(error).__name__}: {printable(str(error), 100)}).", where=where
        ) from None
    finally:
        _budget.reset(token)


def read_model_file(path: str | PathLike[str], keys: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` or pickled model file, whatever its name says.

    Args:
        path: The file.
        keys: Only these are wanted, as far as they are there; None wants all.

    Raises:
        UserError: It is missing, damaged, asks to run code, is too large or does not hold named arrays.
    """
    path = Path(path)
    check_regular_file(path)
    try:
        with path.open("rb") as stream:
            is_zip = stream.read(2) == b"PK"
    except OSError as error:
        raise UserError(f"this file cannot be read ({error.strerror}).", where=path) from None
    if is_zip:
        # Arrays of objects (a sparse matrix, say) go through the restricted unpickler.
        return read_npz(path, keys, objects=lambda content, key: _array(restricted_load(content, f"{path}, {key}")))
    content = restricted_load(read_bytes(path, LARGEST_ARRAYS), path)
    if not isinstance(content, dict):
        raise UserError(f"expected named arrays, found {type(content).__name__}.", where=path)
    try:
        return {str(key): _array(value) for key, value in content.items() if keys is None or key in keys}
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"this file does not hold arrays ({error}).", where=path) from None


def _array(value: Any) -> np.ndarray:
    """A value as an array; lists of different lengths, say, are kept as one object."""
    try:
        return np.asarray(value)
    except ValueError:
        array = np.empty((), object)
        array[()] = value
        return array


def _plain(value: Any) -> Any:
    """Replace the stand-ins by their arrays, inside containers too.

    Raises:
        pickle.UnpicklingError: A container holds itself, or names others so often that they would be too many.
    """
    return _plain_and_size(value, {})[0]


def _plain_and_size(value: Any, known: dict[int, tuple[Any, int] | None]) -> tuple[Any, int]:
    """A value without stand-ins, and how many values it would be if each were written out wherever it is named."""
    if not isinstance(value, (_StandIn, dict, list, tuple)):
        return value, 1
    if id(value) in known:
        found = known[id(value)]
        if found is None:
            raise pickle.UnpicklingError("a container that holds itself")
        return found
    known[id(value)] = None
    size = 1

    def inside(entry: Any) -> Any:
        nonlocal size
        plain, more = _plain_and_size(entry, known)
        size += more
        if size > _MOST_VALUES:
            raise pickle.UnpicklingError("too many values")
        return plain

    plain: Any
    if isinstance(value, _StandIn):
        array = value.array
        if array is None:
            raise pickle.UnpicklingError("an array without numbers")
        for index, entry in enumerate(value.entries or ()):
            array.flat[index] = inside(entry)
        # Scalars come as arrays without dimensions.
        plain = array[()] if array.ndim == 0 else array
    elif isinstance(value, dict):
        plain = {key: inside(entry) for key, entry in value.items()}
    else:
        plain = type(value)([inside(entry) for entry in value])
    known[id(value)] = plain, size
    return plain, size
