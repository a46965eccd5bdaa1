"""What all commands have in common: options, messages, exit codes, and how they end."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from tyro.conf import arg

from spatialavatar.errors import UserError
from spatialavatar.text import printable

if TYPE_CHECKING:
    from rich.text import Text

OK, BUG, BAD_INPUT, STOPPED = 0, 1, 2, 130


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command."""

    verbose: Annotated[bool, arg(aliases=["-v"], help_behavior_hint="")] = False
    """Say more, and show where an error came from."""


class Runnable(Protocol):
    """A parsed command."""

    @property
    def verbose(self) -> bool: ...

    def run(self) -> int | None:
        """Do it; returns an exit code, None for 0."""
        ...


def run(command: Runnable) -> int:
    """Run a command and turn whatever ends it into a message and an exit code."""
    _stop_on_terminate()
    try:
        code = command.run()
        sys.stdout.flush()
        return OK if code is None else code
    except UserError as error:
        return _failed(error.what, error.where, error.hint, command.verbose)
    except KeyboardInterrupt:
        warn("stopped; nothing half-written was left behind.")
        return STOPPED
    except BrokenPipeError:
        return leave_closed_pipe()
    except MemoryError:
        return _failed("there is not enough memory.", None, _LESS_MEMORY, command.verbose)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what, hint = "no disk space is left.", "Free some space and run it again; nothing half-written was left."
            return _failed(what, error.filename, hint, command.verbose)
        if error.errno in _OF_THE_FILE:
            return _failed(f"{error.strerror}.", error.filename, None, command.verbose)
        return _bug()
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            return _failed("there is not enough memory.", None, _LESS_MEMORY, command.verbose)
        return _bug()
    except Exception:
        return _bug()


# Faults of a path that was given, not of the program.
_OF_THE_FILE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG, errno.EIO),
)
_LESS_MEMORY = "Close other programs, or use --fast, or a shorter video."


def leave_closed_pipe() -> int:
    """The reader of our output went away (`| head`); what was made is made."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def say(text: str = "") -> None:
    """A line of result on stdout, taken literally; control characters of names and files are shown as escapes."""
    _console(stderr=False).print(shown(text), soft_wrap=True)


def warn(text: str) -> None:
    """A line for the person at the terminal on stderr, as `say`."""
    _console(stderr=True).print(shown(text), soft_wrap=True)


def shown(text: str) -> Text:
    """Text from anywhere as Rich prints it literally: no markup, no emoji codes, no control characters."""
    from rich.text import Text

    return Text("\n".join(printable(line) for line in text.split("\n")))


def _failed(what: str, where: Any, hint: str | None, verbose: bool) -> int:
    from rich.text import Text

    if verbose:
        _console(stderr=True).print_exception()
    line = Text.assemble(("error: ", "bold red"), shown(f"{where}: {what}" if where is not None else what))
    console = _console(stderr=True)
    console.print(line, soft_wrap=True)
    if hint is not None:
        console.print(shown(f"  {hint}"), soft_wrap=True)
    return BAD_INPUT


def _bug() -> int:
    import platform
    import traceback

    import spatialavatar

    traceback.print_exc()
    version = f"spatialavatar {spatialavatar.__version__}, Python {platform.python_version()}, {platform.platform()}"
    warn(f"\nthis is a bug in SpatialAvatar, not in your input. Please report it with the lines above and: {version}")
    return BUG


def _console(stderr: bool) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False)


def _stop_on_terminate() -> None:
    """Let `kill` and a closed terminal end a command as Ctrl-C does: with temporary files removed."""
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL:
            signal.signal(getattr(signal, name), stop)
