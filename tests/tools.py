"""Programs that some tests need and that Python's packages do not bring: where they are, and how to get them."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
NPM_PACKAGES = ("typescript", "vitest", "gltf-validator", "three", "@sparkjsdev/spark")
"""What tests use of `web/package.json`."""


@dataclass(frozen=True)
class Tool:
    """Something that a package manager installs."""

    find: Callable[[], str | None]
    """Its path, or None where it is missing."""
    how: str
    """The command that installs it."""


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _playwright() -> str | None:
    specification = importlib.util.find_spec("playwright")
    return None if specification is None else specification.origin


def _npm_packages() -> str | None:
    folder = WEB / "node_modules"
    return str(folder) if all((folder / name / "package.json").is_file() for name in NPM_PACKAGES) else None


TOOLS = {
    "chromium": Tool(_chromium, "apt-get install chromium"),
    "playwright": Tool(_playwright, "pip install playwright"),
    "node": Tool(lambda: shutil.which("node"), "apt-get install nodejs npm, or https://nodejs.org"),
    "npx": Tool(lambda: shutil.which("npx"), "apt-get install npm, or https://nodejs.org"),
    "npm packages": Tool(_npm_packages, "cd web && npm ci"),
    "xvfb-run": Tool(lambda: shutil.which("xvfb-run"), "apt-get install xvfb xauth"),
}
MARKED = {"browser": ("chromium", "playwright"), "node": ("node", "npm packages")}
"""Tools that a test with this marker needs."""


def needs_tool(name: str) -> str:
    """Where a tool is. Skips the test where it is missing; in CI that fails it (tests/conftest.py)."""
    found = TOOLS[name].find()
    if found is None:
        pytest.skip(f"{name}: not installed ({TOOLS[name].how})")
    return found


def main() -> None:
    """Say which tools are missing, and how to get them; the tests that need them will be skipped."""
    for name, tool in TOOLS.items():
        if tool.find() is None:
            print(f"{name} is missing, and tests that need it are skipped: {tool.how}", file=sys.stderr)


if __name__ == "__main__":
    main()
