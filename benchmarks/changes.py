"""NAME=VALUE on a command line, as changes to a settings dataclass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import TypeVar

Settings = TypeVar("Settings")


def changed(usual: Settings, texts: Iterable[str]) -> Settings:
    """The settings with some of their numbers changed; exits with their names where one is unknown."""
    numbers = {f.name: f.default for f in fields(usual) if isinstance(f.default, int | float)}
    changes = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in numbers:
            known = ", ".join(numbers)
            raise SystemExit(f"{text}: {type(usual).__name__} has no number of this name, but {known}.")
        changes[name] = type(numbers[name])(value)
    return replace(usual, **changes)
