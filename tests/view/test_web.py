"""The page's own tests, where Node and the page's tools are installed (cd web && npm ci)."""

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


@pytest.mark.parametrize("arguments", [("tsc", "--noEmit"), ("vitest", "run")], ids=["types", "tests"])
def test_the_sources_of_the_page(arguments: tuple[str, ...]) -> None:
    if shutil.which("npx") is None:
        pytest.skip("Node is not installed")
    if not (WEB / "node_modules").is_dir():
        pytest.skip("the page's tools are not installed: cd web && npm ci")
    done = subprocess.run(["npx", "--no-install", *arguments], cwd=WEB, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
