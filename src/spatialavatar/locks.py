"""Locks on files that end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_held: set[int] = set()
"""File descriptors of the locks of this process."""


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds.

    Attributes:
        path: The file that is locked.
        descriptor: Of the open file.
        works: False where the file system knows no locks, so that others cannot see it.
    """

    path: Path
    descriptor: int
    works: bool

    def release(self, remove: bool = True) -> None:
        """Let it go, and remove its file, which has no use without the lock."""
        if remove and sys.platform != "win32":
            # While it is held: after that the file may be another process's.
            self.path.unlink(missing_ok=True)
        if self.descriptor in _held:
            _held.discard(self.descriptor)
            os.close(self.descriptor)
        if remove and sys.platform == "win32":
            # An open file cannot be removed there; one that another process has opened by now stays.
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def acquire(path: Path, *, create: bool = True) -> Lock | None:
    """Lock a file, without waiting; None where another process (or this one) holds it.

    Args:
        path: The file to lock; what it contains does not matter.
        create: Make it where it does not exist.

    Raises:
        OSError: It cannot be opened, or is not there and is not to be made.
    """
    while True:
        flags = os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags, 0o666)
        try:
            works = _lock(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # Whoever held it may have removed the file between the two calls; the lock would then be on nothing. (Windows
        # removes no file that is open.)
        if sys.platform != "win32" and not _is_at(path, descriptor):
            os.close(descriptor)
            continue
        _held.add(descriptor)
        return Lock(path, descriptor, works)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


# What systems answer where a file system, usually one on a network, has no locks.
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}


def _lock_on_windows(descriptor: int) -> bool:
    import msvcrt  # not on other systems

    lock: Callable[[int, int, int], None] = getattr(msvcrt, "locking")  # noqa: B009 (mypy looks at Linux)
    try:
        lock(descriptor, getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EDEADLK):
            raise BlockingIOError from None
        if error.errno in _WITHOUT_LOCKS:
            return False
        raise
    return True


def _lock_elsewhere(descriptor: int) -> bool:
    import fcntl  # not on Windows

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError from None
        if error.errno in _WITHOUT_LOCKS:
            return False
        raise
    return True


_lock = _lock_on_windows if sys.platform == "win32" else _lock_elsewhere


def _forget_in_child() -> None:
    """A forked process shares its parent's open files, and with them the locks: it must not hold them on."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
