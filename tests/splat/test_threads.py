"""The number of threads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.splat import threads


def test_set_threads_sets_the_kernels_and_torch() -> None:
    before, torch_before = threads.threads(), torch.get_num_threads()
    try:
        threads.set_threads(3)
        assert threads.threads() == 3 and torch.get_num_threads() == 3
    finally:
        threads.set_threads(before)
        torch.set_num_threads(torch_before)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        threads.set_threads(0)


def test_the_environment_sets_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.ENVIRONMENT_VARIABLE, "7")
    assert threads.default_threads() == 7
    for text in ("0", "many", "-1", "1.5"):
        monkeypatch.setenv(threads.ENVIRONMENT_VARIABLE, text)
        with pytest.raises(UserError, match="SPATIALAVATAR_THREADS"):
            threads.default_threads()
    monkeypatch.delenv(threads.ENVIRONMENT_VARIABLE)
    assert threads.default_threads() >= 1


def test_importing_the_package_quiets_the_spinning_of_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    program = "import os, spatialavatar; print(os.environ['GOMP_SPINCOUNT'], os.environ['OMP_WAIT_POLICY'])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.split()[0].isdigit()
