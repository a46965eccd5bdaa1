"""Nothing that only Unix has is needed to import the package and to look it over."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import windows_like


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.mark.slow
def test_every_module_imports_and_doctor_is_content_without_what_only_unix_has() -> None:
    done = run("from tests import windows_like; windows_like.main()")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(windows_like.names())} modules" in done.stdout


@pytest.mark.parametrize("name", ["resource", "fcntl"])
def test_the_check_finds_a_module_that_only_unix_has(name: str) -> None:
    """Else it could not fail."""
    done = run(f"from tests import windows_like; windows_like.take_away(); import {name}")
    assert done.returncode != 0 and f"import of {name} halted" in done.stderr


def test_the_check_takes_functions_away() -> None:
    done = run("from tests import windows_like; windows_like.take_away(); import os; os.getuid()")
    assert done.returncode != 0 and "getuid" in done.stderr
