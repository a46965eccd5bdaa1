"""The one error type that is meant to be read by the person who runs the program."""

from __future__ import annotations

from os import PathLike


class UserError(Exception):
    """Something the user can mend: bad input, a missing file, a full disk.

    Args:
        what: One sentence that says what is wrong, with what was expected and what was found.
        where: The file, key or frame it is about, if there is one.
        hint: What to do next.

    The command line prints the message without a traceback and exits with code 2.
    """

    def __init__(self, what: str, *, where: str | PathLike[str] | None = None, hint: str | None = None):
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint
        message = what if where is None else f"{where}: {what}"
        super().__init__(message if hint is None else f"{message}\n  {hint}")
