"""Files and folders that are either there whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
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
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    The temporary name keeps the suffix, so that writers which choose a format by it still work.
    """
    final = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{final.stem}.", suffix=final.suffix, dir=final.parent or ".")
        os.close(handle)
    except OSError as error:
        raise _as_user_error(error, final) or error from None
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, final)
    except OSError as error:
        raise _as_user_error(error, final) or error from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder_atomically(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` on success, remove it on any failure.

    Raises:
        UserError: `path` exists and `overwrite` is false.
    """
    final = Path(path)
    if final.exists() and not overwrite:
        raise UserError("this folder exists already.", where=final, hint="Give another name or add --overwrite.")
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent or "."))
    except OSError as error:
        raise _as_user_error(error, final) or error from None
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o777 & ~mask)
        if final.exists():
            # The old folder moves aside first, so that a crash between the two renames loses nothing.
            aside = Path(tempfile.mkdtemp(prefix=f".{final.name}.old.", dir=final.parent or "."))
            os.replace(final, aside / final.name)
            os.replace(temporary, final)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.replace(temporary, final)
    except OSError as error:
        raise _as_user_error(error, final) or error from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


@contextlib.contextmanager
def only_one(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder for this process alone; a process that ends, however it ends, lets it go.

    Raises:
        UserError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    with (Path(folder) / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                "another run is writing into this folder.", where=folder, hint="Wait for it, or choose another folder."
            ) from None
        yield
