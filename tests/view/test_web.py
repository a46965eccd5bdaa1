"""The page's own tests: the types of its sources, and vitest."""

import subprocess

import pytest

from tests.tools import WEB, needs_tool


@pytest.mark.node
@pytest.mark.parametrize("arguments", [("tsc", "--noEmit"), ("vitest", "run")], ids=["types", "tests"])
def test_the_sources_of_the_page(arguments: tuple[str, ...]) -> None:
    npx = needs_tool("npx")
    done = subprocess.run([npx, "--no-install", *arguments], cwd=WEB, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
