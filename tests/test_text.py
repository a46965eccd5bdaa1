"""Text of names and files: what reaches a terminal, and what can be pasted into a shell."""

import subprocess
from pathlib import Path

import pytest

from spatialavatar.text import is_printable, printable, shell_quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Zoë 王 👩\u200d🚀", "Zoë 王 👩\u200d🚀"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\nb\tc", "a\\x0ab\\x09c"),
        ("left\u202eright", "left\\u202eright"),
        ("\udcff", "\\udcff"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert is_printable(text) == (text == shown)


def test_long_text_is_cut() -> None:
    assert printable("abcdef", longest=4) == "abc…"


NAMES = [
    "me.avatar",
    "Interview [dQw4w9WgXcQ].mp4",
    "it's $HOME `x`.mp4",
    "-o.mp4",
    "王 小明.mp4",
    "a\nb\x1b.mp4",
    "\udcff",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_quoted_name_reaches_a_program_as_it_is(name: str) -> None:
    command = f"printf %s {shell_quoted(Path(name))}"
    assert is_printable(command)
    found = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout
    expected = name.encode("utf-8", "surrogateescape")
    assert found == (b"./" + expected if name.startswith("-") else expected)
