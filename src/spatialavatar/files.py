"""Files and folders that are either there whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from spatialavatar import unfinished
from spatialavatar.errors import UserError
from spatialavatar.locks import acquire
from spatialavatar.text import is_printable, printable


def _as_user_error(error: OSError, path: Path) -> UserError | None:
    """The message for an operating-system error a user can mend, or None for any other."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError("no disk space is left to write this.", where=path, hint="Free some space and run it again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError("this place cannot be written to.", where=path, hint="Choose another one with -o.")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return UserError("the folder to write into does not exist.", where=path.parent, hint="Create it first.")
    return None


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` on success, remove it on any failure.

    It lies in a hidden folder beside `path` (see `unfinished`) and has the same name, so that writers which choose a
    format by the suffix still work. Before the rename its contents are on the disk, not only in the system's memory.
    """
    final = Path(path)
    with _unfinished(final) as made:
        made.new.touch()
        yield made.new
        # Safetensors makes a file of its own that other users may not read.
        os.chmod(made.new, made.file_mode)
        _to_disk(made.new)
        made.replace()
        _to_disk(final.parent)


@contextlib.contextmanager
def new_folder_atomically(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder; rename it to `path` on success, remove it on any failure.

    It lies in a hidden folder beside `path` (see `unfinished`). Before the rename all its files are on the disk. What
    it replaces is moved out of the way first, and removed last.

    Raises:
        UserError: `path` exists and `overwrite` is false, or another process is just making it.
    """
    final = Path(path)
    _check_new(final, overwrite)
    with only_one_makes(final), _unfinished(final) as made:
        made.new.mkdir()
        yield made.new
        _tree_to_disk(made.new, made.file_mode)
        _check_new(final, overwrite)
        made.replace()
        _to_disk(final.parent)


def _check_new(final: Path, overwrite: bool) -> None:
    if final.exists() and not overwrite:
        raise UserError("this folder exists already.", where=final, hint="Give another name or add --overwrite.")


@contextlib.contextmanager
def _unfinished(final: Path) -> Iterator[unfinished.Unfinished]:
    """A hidden folder beside `final`, removed in any case; what a user can mend is a UserError."""
    made = None
    try:
        made = unfinished.begin(final)
        yield made
    except OSError as error:
        raise _as_user_error(error, final) or error from None
    finally:
        if made is not None:
            made.remove()


_FILES_AT_ONCE = 16
"""Files that are sent to the disk at the same time: file systems write the records of several in one go."""


def _to_disk(path: Path) -> None:
    """Wait until a file's contents, or a folder's entries, are on the disk. Windows does that for folders by itself."""
    if path.is_dir():
        if sys.platform != "win32":
            _folder_to_disk(path)
        return
    # Windows wants a file that may be written to, the others one that may be read.
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folder_to_disk(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to and not be listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        # That a file system cannot do it for folders (some on networks) is no reason to give up.
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
    finally:
        os.close(descriptor)


def _tree_to_disk(folder: Path, mode: int) -> None:
    """Wait until a folder and everything in it is on the disk; files that only their owner may read get `mode`."""

    def file_to_disk(path: Path) -> None:
        # Safetensors makes files that other users may not read.
        if path.stat().st_mode & 0o777 == 0o600 != mode:
            os.chmod(path, mode)
        _to_disk(path)

    folders, files = [folder], []
    for place, inside, names in os.walk(folder):
        folders += [Path(place, name) for name in inside]
        files += [Path(place, name) for name in names]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        list(pool.map(file_to_disk, files))
        list(pool.map(_to_disk, reversed(folders)))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


LONGEST_NAME = 200
"""Bytes of a file name that somebody else chose; systems allow 255, and temporary names are longer than final ones."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def is_file_name(name: str) -> bool:
    """Whether a name that somebody else chose can be that of a file, in this folder and in no other, on any system."""
    return (
        isinstance(name, str)
        and bool(name)
        and not name.startswith((".", " "))
        and not name.endswith((".", " "))
        and is_printable(name)
        and len(name.encode("utf-8", "surrogatepass")) <= LONGEST_NAME
        and not set(name) & set('/\\:*?"<>|')
        and _RESERVED.fullmatch(name) is None
    )


def check_file_name(name: object, where: str | os.PathLike[str], what: str) -> str:
    """A name out of somebody else's file, before it becomes part of a path.

    Args:
        name: What the file says.
        where: That file.
        what: What it names, for the message, such as "the key 'camera_id'".

    Raises:
        UserError: It is not the name of a file in one folder: it has slashes, or leads elsewhere.
    """
    if isinstance(name, str) and is_file_name(name):
        return name
    raise UserError(f"{what} is {printable(repr(name))}, which cannot be the name of a file.", where=where)


def path_inside(folder: Path, relative: str, where: str | os.PathLike[str], what: str) -> Path:
    """`folder / relative`, for a path that somebody else's file gives; either kind of slash separates.

    Args:
        folder: What the path is relative to, and must stay in.
        relative: What the file says.
        where: That file.
        what: What the path is, for the message.

    Raises:
        UserError: It leads out of `folder`: it is absolute, or climbs by "..", or through a link.
    """
    parts = relative.replace("\\", "/").split("/")
    plain = [part for part in parts if part not in ("", ".")]
    absolute = relative[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", relative) is not None
    if plain and not absolute and ".." not in plain and "\0" not in relative:
        path = folder.joinpath(*plain)
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    raise UserError(f"{what} is {printable(repr(relative))}, which leads out of the folder.", where=where)


def only_one(folder: str | os.PathLike[str]) -> contextlib.AbstractContextManager[None]:
    """Hold a folder for this process alone; a process that ends, however it ends, lets it go.

    Raises:
        UserError: Another process holds it, or it cannot be written to.
    """
    busy = UserError(
        "another run is writing into this folder.", where=folder, hint="Wait for it, or choose another folder."
    )
    return _held(Path(folder) / ".lock", Path(folder), busy)


def only_one_makes(path: str | os.PathLike[str]) -> contextlib.AbstractContextManager[None]:
    """The same for a file or folder that is to be made, by a hidden file beside it that goes at the end.

    Raises:
        UserError: Another process is making it, or its folder cannot be written to.
    """
    busy = UserError("another run is making this.", where=path, hint="Wait for it, or choose another name with -o.")
    return _held(unfinished.lock_path(Path(path)), Path(path), busy)


@contextlib.contextmanager
def _held(lock_path: Path, path: Path, busy: UserError) -> Iterator[None]:
    try:
        lock = acquire(lock_path)
    except OSError as error:
        raise _as_user_error(error, path) or error from None
    if lock is None:
        raise busy
    try:
        yield
    finally:
        lock.release()
