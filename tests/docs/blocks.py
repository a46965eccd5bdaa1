"""The code blocks of README and docs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.tools import ROOT

PAGES = tuple([ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAMS = ("spatialavatar ", "python ", "pip ", "make ", "git ", "cd ", "npm ")


@dataclass(frozen=True)
class Block:
    """One block of a page.

    Attributes:
        page: The page's file name.
        language: What stands behind the opening backquotes; "bash" where nothing does and programs are called.
        lines: Its commands without their comments, for bash; else all lines.
    """

    page: str
    language: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def command_of(line: str) -> str:
    """A line of a block without the comment behind it."""
    return re.sub(r"\s+#\s.*$", "", line).strip()


@lru_cache(maxsize=1)
def blocks() -> tuple[Block, ...]:
    """All of them, in the order of pages and lines."""
    found = []
    for page in PAGES:
        for language, text in _BLOCK.findall(page.read_text("utf-8")):
            lines = text.splitlines()
            if language in ("", "bash") and lines[0].startswith(_PROGRAMS):
                found.append(Block(page.name, "bash", tuple(filter(None, map(command_of, lines)))))
            else:
                found.append(Block(page.name, language, tuple(lines)))
    return tuple(found)


def of_page(page: Path) -> list[Block]:
    """Those of a page that can be run."""
    return [block for block in blocks() if block.page == page.name and block.language in ("bash", "python")]
