"""Model files of other people, read without running what is in them.

FLAME comes as a Python 2 pickle that holds numpy arrays, scipy's sparse matrices and arrays of the abandoned package
chumpy. A pickle can name any function to be called, so this reader admits exactly those and refuses everything else
by name. Sparse matrices and chumpy's arrays are never built: stand-ins keep their numbers.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from spatialavatar.errors import UserError


class _Chumpy:
    """Stands in for `chumpy.ch.Ch`, which wraps an array as its attribute x."""

    array: np.ndarray

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not isinstance(state.get("x"), np.ndarray):
            raise pickle.UnpicklingError("a chumpy array without its numbers")
        self.array = state["x"]


class _Sparse:
    """Stands in for scipy's matrices in compressed rows or columns."""

    by_rows: bool
    array: np.ndarray

    def __setstate__(self, state: Any) -> None:
        try:
            data, indices, pointers = (np.asarray(state[key]) for key in ("data", "indices", "indptr"))
            rows, columns = (int(n) for n in (state["_shape"] if "_shape" in state else state["shape"]))
            major = rows if self.by_rows else columns
            line = np.repeat(np.arange(major), np.diff(pointers))
            self.array = np.zeros((rows, columns), data.dtype)
            # Entries may repeat; scipy adds them.
            np.add.at(self.array, (line, indices) if self.by_rows else (indices, line), data)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise pickle.UnpicklingError(f"a sparse matrix that does not fit together ({error})") from None


class _SparseRows(_Sparse):
    by_rows = True


class _SparseColumns(_Sparse):
    by_rows = False


def _encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode` as far as numpy's pickles use it: bytes written as text."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _new_object(kind: type, base: type, state: Any) -> Any:
    """`copyreg._reconstructor` for the stand-ins only."""
    if kind not in (_Chumpy, _SparseRows, _SparseColumns) or base is not object:
        raise pickle.UnpicklingError(f"an object of the kind {kind!r}")
    return object.__new__(kind)


def _numpy_globals() -> dict[tuple[str, str], Any]:
    admitted: dict[tuple[str, str], Any] = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
    # Where numpy keeps its two pickling functions has changed; both names lead to the ones at hand.
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        admitted[module, "_reconstruct"] = reconstruct
        admitted[module, "scalar"] = scalar
    return admitted


_ADMITTED: dict[tuple[str, str], Any] = {
    **_numpy_globals(),
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
                    arrays[key] = _plain(value.item()) if isinstance(value, np.ndarray) and value.ndim == 0 else value
                else:
                    member.seek(0)
                    arrays[key] = np.lib.format.read_array(member, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, zlib.error) as error:
        raise UserError(f"this file is cut short or damaged ({error}).", where=path) from None
    return arrays


def _plain(value: Any) -> Any:
    """Replace the stand-ins by their arrays, inside dictionaries too."""
    if isinstance(value, (_Chumpy, _Sparse)):
        return getattr(value, "array", np.zeros(0))
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value
