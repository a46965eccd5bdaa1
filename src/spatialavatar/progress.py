"""How long work says where it is: stages with steps, drawn by the command line, silent in the library by default."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from spatialavatar.text import printable

Advance = Callable[..., None]
"""advance(steps=1, note=""): this many more steps are done; `note` replaces the text beside the bar."""


class Progress(Protocol):
    """Something that shows stages of work."""

    def stage(self, name: str, total: int | None = None) -> contextlib.AbstractContextManager[Advance]:
        """Begin a stage of `total` steps (None where unknown); ends when the context does."""
        ...

    def note(self, text: str) -> None:
        """A line worth keeping: a warning, or a number a person wants to see."""
        ...


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        yield lambda steps=1, note="": None

    def note(self, text: str) -> None:
        pass


class Rich:
    """Bars with a remaining time on the terminal, one per stage; lines on standard error, so pipes stay clean."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        from rich import progress as bars

        columns = (
            bars.TextColumn("{task.description:<22}", markup=False),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            bars.TextColumn("left"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[note]}", markup=False),
        )
        with bars.Progress(*columns, console=self.console, refresh_per_second=4) as shown:
            task = shown.add_task(printable(name), total=total, note="")

            def advance(steps: int = 1, note: str | None = None) -> None:
                shown.advance(task, steps)
                if note is not None:
                    shown.update(task, note=printable(note, 60))

            yield advance

    def note(self, text: str) -> None:
        self.console.print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)
