"""What is checked about paths before anything heavy is imported: a typo must not cost a minute."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from spatialavatar.errors import UserError
from spatialavatar.products import check_name
from spatialavatar.text import shell_quoted


def check_inputs(paths: Sequence[Path]) -> None:
    """Every input is there.

    Raises:
        UserError: None was given, or one does not exist.
    """
    if not paths:
        raise UserError("no photo or video was given.", hint="For example: spatialavatar create me.mp4")
    for path in paths:
        # Not Path.exists, which raises for a name that no file can have.
        if not os.path.exists(path):
            raise UserError("there is no such file.", where=path, hint=_similar(path))


def named_output(output: Path | None, inputs: Sequence[Path], suffix: str) -> Path:
    """Where to write: `output`, or the first input's name in the current folder.

    Raises:
        UserError: It has another suffix, or its folder does not exist or may not be written to.
    """
    if output is None:
        stem = inputs[0].resolve().stem if inputs else "avatar"
        output = Path(f"{stem}{suffix}")
    if output.suffix == "":
        output = output.with_name(output.name + suffix)
    if output.suffix != suffix:
        raise UserError(f"the name of the output must end in {suffix}, not {output.suffix}.", where=output)
    check_name(output)
    check_writable(output)
    return output


def check_writable(output: Path) -> None:
    """The output can be put there.

    Raises:
        UserError: Its folder is missing or may not be written to, or (for a file) a folder is in its place.
    """
    folder = output.parent
    if not folder.is_dir():
        raise UserError(
            "the folder to write into does not exist.", where=folder, hint=f"mkdir -p {shell_quoted(folder)}"
        )
    if not os.access(folder, os.W_OK):
        raise UserError("this folder may not be written to.", where=folder.resolve(), hint="Choose another with -o.")
    if output.is_dir() and output.suffix != ".tracked":
        raise UserError("a folder of this name is in the way.", where=output, hint="Choose another name with -o.")


def _similar(path: Path) -> str | None:
    import difflib

    if not os.path.isdir(path.parent):
        return None
    close = difflib.get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=1)
    return f"Did you mean {path.with_name(close[0])}?" if close else None
