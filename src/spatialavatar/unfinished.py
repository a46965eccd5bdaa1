"""Hidden folders in which files and folders are made until they are whole, and what killed processes left of them.

    .me.tracked.spatialavatar-HOST-PROCESS-RANDOM/    beside me.tracked, which is being made
        .spatialavatar-owner                          locked by the process that makes it
        me.tracked                                    what is being made
        .spatialavatar-old/me.tracked                 what it replaces, between the two renames of a replacement

A later process that gets the owner's lock knows that its process is dead. Only folders with that name and that file are
ever removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from spatialavatar.locks import Lock, acquire
from spatialavatar.text import printable

_LOG = logging.getLogger("spatialavatar")
_OWNER, _OLD = ".spatialavatar-owner", ".spatialavatar-old"
_NAME = re.compile(r"\.(?P<final>.+)\.spatialavatar-(?P<host>\w+)-(?P<process>\d+)-[0-9a-f]{8}", re.DOTALL)
_LOCK_NAME = re.compile(r"\..+\.spatialavatar-lock", re.DOTALL)
# How earlier versions called what they moved out of the way, and what they had not finished.
_EARLIER = re.compile(r"\.(?P<final>.+\.tracked)\.(?P<what>before|old\.[a-z0-9_]{8}|[a-z0-9_]{8})", re.DOTALL)
_LONGEST_FINAL = 180
"""Bytes of the final name within the hidden one: systems allow 255, and host, process and the rest take up to 75."""
_LONGEST_HOST = 24
_tidied: set[Path] = set()
"""Folders that this process has tidied before its first write there."""


def host_name() -> str:
    """This machine's name as it stands in hidden names: letters, digits and underscores."""
    return re.sub(r"\W+", "_", platform.node(), flags=re.ASCII)[:_LONGEST_HOST] or "unnamed"


def lock_path(final: Path) -> Path:
    """The file whose lock means that a process is making `final`."""
    return final.with_name(f".{_shortened(final.name)}.spatialavatar-lock")


def _shortened(name: str) -> str:
    whole = name.encode("utf-8", "surrogateescape")
    if len(whole) <= _LONGEST_FINAL:
        return name
    # The digest keeps two long names apart that begin alike.
    digest = hashlib.sha256(whole).hexdigest()[:8]
    return f"{whole[: _LONGEST_FINAL - 9].decode('utf-8', 'ignore')}-{digest}"


@dataclass(frozen=True)
class Unfinished:
    """One hidden folder of this process.

    Attributes:
        folder: Itself.
        final: What is being made.
        lock: On its owner file.
    """

    folder: Path
    final: Path
    lock: Lock

    @property
    def new(self) -> Path:
        return self.folder / self.final.name

    @property
    def old(self) -> Path:
        return self.folder / _OLD / self.final.name

    @property
    def file_mode(self) -> int:
        """The mode that a new file gets here."""
        return os.fstat(self.lock.descriptor).st_mode & 0o777

    def replace(self) -> None:
        """Put the new in the place of the old, which moves out of the way first: a crash between loses neither."""
        if self.new.is_dir() and self.final.exists():
            self.old.parent.mkdir()
            os.replace(self.final, self.old)
        os.replace(self.new, self.final)

    def remove(self) -> None:
        """Remove the folder; what it was to replace is put back first where nothing has taken its place."""
        _put_back(self.folder, self.final.parent)
        _remove(self.folder, self.lock)


def begin(final: Path) -> Unfinished:
    """Make a hidden folder beside `final`.

    Raises:
        OSError: The folder of `final` is missing, full, or may not be written to.
    """
    parent = final.parent
    _tidy_once(parent)
    while True:
        name = f".{_shortened(final.name)}.spatialavatar-{host_name()}-{os.getpid()}-{secrets.token_hex(4)}"
        folder = parent / name
        folder.mkdir()
        try:
            lock = acquire(folder / _OWNER)
        except FileNotFoundError:
            if not folder.exists() and parent.is_dir():
                continue  # another process tidied it away before it had an owner
            raise
        if lock is None:
            continue  # another process is just tidying it away
        return Unfinished(folder, final, lock)


def tidy(folder: Path, *, deep: bool = False, every_host: bool = False) -> None:
    """Remove what killed processes left in a folder, put back what they had moved out of the way, and say so.

    Args:
        folder: Where to look.
        deep: Also inside its folders.
        every_host: Also what other machines left, where locks are seen by all of them. Otherwise that is only named.
    """
    try:
        with os.scandir(folder) as entries:
            found_here = sorted((entry.name, deep and entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError:
        return
    hidden = [name for name, _ in found_here if name.startswith(".")]
    for name, goes_deep in found_here:
        if goes_deep and not name.startswith("."):
            tidy(folder / name, deep=True, every_host=every_host)
    for name in hidden:
        path = folder / name
        with contextlib.suppress(OSError):
            if (found := _NAME.fullmatch(name)) is not None and path.is_dir() and not path.is_symlink():
                if every_host or found["host"] == host_name():
                    _tidy_away(path)
                else:
                    text = "was made on another machine (%s), which may still be writing it; remove it if it is not."
                    _say(f"%s: this {text}", path, found["host"])
            elif _LOCK_NAME.fullmatch(name) is not None and path.is_file():
                lock = acquire(path, create=False)
                if lock is not None:
                    lock.release(remove=lock.works)
            elif (found := _EARLIER.fullmatch(name)) is not None and path.is_dir():
                _tidy_earlier(path, folder / found["final"], found["what"])


def _tidy_once(folder: Path) -> None:
    place = folder.absolute()
    if place not in _tidied:
        _tidied.add(place)
        tidy(folder)


def _tidy_away(path: Path) -> None:
    """Remove one of our hidden folders if its process is dead."""
    try:
        lock = acquire(path / _OWNER, create=False)
    except FileNotFoundError:
        path.rmdir()  # killed before it had an owner, and so empty; anything else is not ours, and stays
        return
    if lock is None:
        return
    if not lock.works:
        lock.release(remove=False)
        _say("%s: this may be left of a stopped run; without file locks here that is not certain.", path)
        return
    size = sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
    _put_back(path, path.parent)
    _remove(path, lock)
    if path.exists():
        _say("%s: this is left of a run that was killed, and could not be removed.", path)
    else:
        _say("%s: removed; a run that was killed left it (%s).", path, _megabytes(size))


def _put_back(path: Path, parent: Path) -> None:
    """Give what was moved out of the way its place again, where nothing else has it."""
    for old in (path / _OLD).glob("*"):
        final = parent / old.name
        if not final.exists():
            os.replace(old, final)
            _say("%s: put back, because what was to replace it did not become whole.", final)


def _remove(folder: Path, lock: Lock) -> None:
    """The owner goes last: without it, nobody would dare to remove the rest."""
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != _OWNER:
            entry.unlink(missing_ok=True)
    if any(entry.name != _OWNER for entry in folder.iterdir()):
        lock.release(remove=False)
        return
    lock.release()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _tidy_earlier(path: Path, final: Path, what: str) -> None:
    """What an earlier version left has no owner: it is put back or named, never removed."""
    kept = path / final.name if what.startswith("old.") else path
    if not kept.is_dir():
        return
    if what == "before" or what.startswith("old."):
        if not final.exists():
            os.replace(kept, final)
            _say("%s: put back, because what was to replace it did not become whole.", final)
            if kept != path:
                path.rmdir()
        else:
            _say("%s: this was replaced in a run that was killed; remove it if you do not need it.", kept)
    else:
        _say("%s: this seems to be left of a run that was killed; remove it if no run is writing it.", path)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 50_000 else f"{size / 1e3:,.1f} kB"


def _say(text: str, path: Path, *more: object) -> None:
    _LOG.warning(text, printable(os.fspath(path)), *more)
