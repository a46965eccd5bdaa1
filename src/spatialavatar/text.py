"""Text from files and names, as it may be shown to a person or pasted into a shell."""

from __future__ import annotations

import os
import re
import shlex
import sys
import unicodedata

# Unicode categories that are not shown as themselves: control characters, format characters (those that turn the
# reading direction among them), surrogates, private use, unassigned, and the two line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Joiners within words and emoji are format characters, too, and change nothing beyond their neighbours.
_JOINERS = frozenset("\u200c\u200d")


def is_printable(text: str) -> bool:
    """Whether every character is shown as itself: none moves the cursor, hides, or turns the reading direction."""
    return not any(_is_hidden(character) for character in text)


def printable(text: str, longest: int | None = None) -> str:
    """Text with every hidden or control character as an escape such as \\x1b, safe to write to a terminal.

    Args:
        text: Anything, from anybody's file.
        longest: Cut after this many characters, with an ellipsis.
    """
    shown = "".join(_escaped(character) if _is_hidden(character) else character for character in text)
    return shown if longest is None or len(shown) <= longest else shown[: max(longest - 1, 0)] + "\u2026"


def shell_quoted(argument: str | os.PathLike[str]) -> str:
    """A path or word as it can be pasted into a shell of this system.

    A path that begins with a dash gets "./" before it, so that no program takes it for an option.
    """
    word = os.fspath(argument)
    if isinstance(argument, os.PathLike) and word.startswith("-"):
        word = f"./{word}"
    if sys.platform == "win32":
        # cmd and PowerShell both take double quotes; neither a name nor a path can hold one there.
        return word if re.fullmatch(r"[\w.:\\/+=@-]+", word) else f'"{word}"'
    if not is_printable(word):
        # $'...' is understood by bash and zsh, and keeps escapes from reaching the terminal.
        body = "".join(_shell_escaped(character) for character in word)
        return f"$'{body}'"
    return shlex.quote(word)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN and character not in _JOINERS


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shell_escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if not _is_hidden(character):
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
