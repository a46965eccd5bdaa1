"""Model files of other people, read without running what is in them.

FLAME comes as a Python 2 pickle that holds numpy arrays, scipy's sparse matrices and arrays of the abandoned package
chumpy. A pickle can name any function to be called, so this reader admits exactly those and refuses everything else
by name. None of these objects is built the way the file says: stand-ins take their numbers, so that not even an array
with forged flags gets through.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from spatialavatar.errors import UserError


class _StandIn:
    """Keeps the numbers of an object that is never built."""

    array: np.ndarray | None = None


class _Array(_StandIn):
    """Stands in for `numpy.ndarray`. Its own unpickling trusts the file about memory, which a file can abuse."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_columns, data = state
        if isinstance(data, list):
            if not _checked_dtype(dtype).hasobject:
                raise pickle.UnpicklingError("an array of numbers written as a list")
            self.array = np.empty(len(data), dtype=object)
            self.array[:] = [_plain(entry) for entry in data]
            self.array = self.array.reshape(shape, order="F" if by_columns else "C")
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
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    checked = _checked_dtype(dtype)
    if checked.hasobject:
        raise pickle.UnpicklingError("objects written as bytes")
    return np.frombuffer(raw, checked).reshape(shape, order="F" if order == "F" else "C").copy()


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
        line = np.repeat(np.arange(rows if self.by_rows else columns), np.diff(pointers))
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
    return text.encode("latin1")


def _new_object(kind: Any, base: Any, *_: Any) -> Any:
    """`copyreg._reconstructor` for the stand-ins only."""
    if kind not in (_Chumpy, _SparseRows, _SparseColumns) or base is not object:
        raise pickle.UnpicklingError(f"an object of the kind {kind!r}")
    return object.__new__(kind)


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _new_object,
    ("builtins", "object"): object,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy", "Ch"): _Chumpy,
    ("scipy.sparse.csc", "csc_matrix"): _SparseColumns,
    ("scipy.sparse._csc", "csc_matrix"): _SparseColumns,
    ("scipy.sparse.csr", "csr_matrix"): _SparseRows,
    ("scipy.sparse._csr", "csr_matrix"): _SparseRows,
}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _scalar
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Refused(Exception):
    """A pickle asked for something that no model file needs."""


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _Refused(f"{module}.{name}")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"the outside object {pid!r}")


def restricted_load(stream: BinaryIO, where: str | PathLike[str]) -> Any:
    """Unpickle numbers, text, containers, numpy arrays, and arrays of scipy.sparse and chumpy as numpy arrays.

    Args:
        stream: The pickle.
        where: What to call it in messages.

    Raises:
        UserError: It asks for anything else, is cut short or is no pickle.
    """
    try:
        return _plain(_RestrictedUnpickler(stream, encoding="latin1").load())
    except _Refused as refused:
        raise UserError(
            f"this file asks to load {refused}, which no model file needs; nothing of it was run.",
            where=where,
            hint="Take the file from its original source.",
        ) from None
    except (EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"this file is cut short or damaged ({error}).", where=where) from None
    except Exception as error:
        # The bytes of a damaged pickle can fail anywhere.
        raise UserError(
            f"this file is no readable model file ({type(error).__name__}: {error}).", where=where
        ) from None


def read_model_file(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` or pickled model file, whatever its name says.

    Raises:
        UserError: It is missing, damaged, asks to run code or does not hold named arrays.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            is_zip = stream.read(2) == b"PK"
            stream.seek(0)
            content = _read_npz(stream, path) if is_zip else restricted_load(stream, path)
    except FileNotFoundError:
        raise UserError("this file is missing.", where=path) from None
    except OSError as error:
        raise UserError(f"this file cannot be read ({error.strerror}).", where=path) from None
    if not isinstance(content, dict):
        raise UserError(f"expected named arrays, found {type(content).__name__}.", where=path)
    return {str(key): np.asarray(value) for key, value in content.items()}


def _read_npz(stream: BinaryIO, path: Path) -> dict[str, Any]:
    """Like numpy's reader, but arrays of objects (a sparse matrix, say) go through the restricted unpickler."""
    arrays: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(stream) as archive:
            for name in archive.namelist():
                member = io.BytesIO(archive.read(name))
                first_version = np.lib.format.read_magic(member) == (1, 0)
                formats = np.lib.format
                read_header = formats.read_array_header_1_0 if first_version else formats.read_array_header_2_0
                _, _, dtype = read_header(member)
                key = name.removesuffix(".npy")
                if dtype.hasobject:
                    value = restricted_load(member, f"{path}, {key}")
                    arrays[key] = value
                else:
                    member.seek(0)
                    arrays[key] = np.lib.format.read_array(member, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, zlib.error) as error:
        raise UserError(f"this file is cut short or damaged ({error}).", where=path) from None
    return arrays


def _plain(value: Any) -> Any:
    """Replace the stand-ins by their arrays, inside containers too."""
    if isinstance(value, _StandIn):
        if value.array is None:
            raise pickle.UnpicklingError("an array without numbers")
        # Scalars come as arrays without dimensions.
        return value.array[()] if value.array.ndim == 0 else value.array
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(entry) for entry in value])
    return value
