"""A skip tells why, and fails in CI where something could have been installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ALLOWED_IN_CI, may_be_skipped
from tests.tools import ROOT

SKIPPING = """
import pytest
from tests import tools

tools.TOOLS["nothing"] = tools.Tool(lambda: None, "apt-get install nothing")


def test_tool():
    tools.needs_tool("nothing")


@pytest.mark.skipif(True, reason="needs an NVIDIA GPU and gsplat")
def test_gpu():
    raise AssertionError


@pytest.mark.xfail(reason="is wrong on purpose")
def test_wrong():
    raise AssertionError


def test_fine():
    pass
"""
MISSING = 'import pytest\n\npytest.importorskip("no_such_package", reason="an extra is not installed")\n'


@pytest.mark.parametrize(
    ("ci", "code", "outcome"),
    [
        ("true", 1, ("1 failed", "1 passed", "1 skipped", "1 xfailed", "1 error")),
        ("", 0, ("1 passed", "3 skipped", "1 xfailed")),
    ],
)
def test_a_skip_for_want_of_a_tool_fails_in_ci(tmp_path: Path, ci: str, code: int, outcome: tuple[str, ...]) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING, "utf-8")
    (tmp_path / "test_missing.py").write_text(MISSING, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "tests.conftest", "-p", "no:cacheprovider", "."]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command.append("--continue-on-collection-errors")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert all(part in last for part in outcome), done.stdout
    assert "nothing: not installed (apt-get install nothing)" in done.stdout
    assert "an extra is not installed" in done.stdout


def test_what_may_be_skipped_is_matched_in_full() -> None:
    assert may_be_skipped("Skipped: needs an NVIDIA GPU and gsplat")
    assert not may_be_skipped("needs an NVIDIA GPU and gsplat, or Node")
    assert not any(may_be_skipped(f"Skipped: {tool}: not installed (cd web && npm ci)") for tool in ("node", ""))
    assert len(ALLOWED_IN_CI) == len(set(ALLOWED_IN_CI))
