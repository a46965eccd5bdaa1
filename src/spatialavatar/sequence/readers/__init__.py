"""Readers of other people's trackings and sets: one module a layout, all to TrackedSequence (docs/datasets.md)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.sequence.readers import gagavatar, imavatar, metrical, nersemble, own, vhap
from spatialavatar.sequence.readers.base import Reading as Reading
from spatialavatar.sequence.readers.base import Skipped as Skipped
from spatialavatar.text import printable

LAYOUTS: dict[str, ModuleType] = {
    module.NAME: module for module in (own, imavatar, metrical, vhap, gagavatar, nersemble)
}
"""Layouts that bring motion and cameras. Lists of clips, which must be tracked first, are in `clips`."""


def read_layout(layout: str, folder: Path, head: Head | None = None) -> Reading:
    """Read a folder of a layout, or of whichever it is ("auto").

    Raises:
        UserError: There is no such layout or folder, it is of another layout, or see the layout's own reader.
    """
    if not folder.is_dir():
        raise UserError("there is no such folder.", where=folder)
    if layout == "auto":
        for name, module in LAYOUTS.items():
            if module.recognises(folder):
                return _read(name, folder, head)
        raise UserError("this folder has no layout that is known.", where=folder, hint=_deeper(folder, LAYOUTS))
    if layout not in LAYOUTS:
        raise UserError(f"there is no layout {layout!r}.", hint=f"There are: {', '.join(LAYOUTS)}.")
    if not LAYOUTS[layout].recognises(folder):
        other = next((name for name, module in LAYOUTS.items() if module.recognises(folder)), None)
        what = "this folder is not of that layout" + (f"; it looks like {other}." if other else ".")
        raise UserError(what, where=folder, hint=_deeper(folder, [layout]))
    return _read(layout, folder, head)


def _deeper(folder: Path, layouts: Iterable[str]) -> str:
    """What to do with a folder of none of these layouts: archives often have one more folder around the set."""
    for inside in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found = next((name for name in layouts if LAYOUTS[name].recognises(inside)), None)
        if found is not None:
            return f"The folder {printable(inside.name, 100)} inside it looks like {found}: give that one."
    return f"Known: {', '.join(LAYOUTS)}; docs/datasets.md shows what each looks like. Is the set extracted whole?"


def _read(layout: str, folder: Path, head: Head | None) -> Reading:
    reading: Reading = LAYOUTS[layout].read(folder, head)
    return reading
