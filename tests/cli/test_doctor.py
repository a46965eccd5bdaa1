"""`doctor`: every check ends in a line, whatever is broken, and every problem names a next command."""

import sys
from collections import namedtuple
from pathlib import Path

import pytest

from spatialavatar.cli import doctor
from spatialavatar.cli.main import main
from spatialavatar.cli.run import BUG, OK


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds: loading the tracker's models."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(doctor, "_mediapipe", lambda: [doctor.Finding("tracker", "ok", "not looked at")])


@pytest.mark.usefixtures("quick")
def test_a_machine_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == OK
    shown = capsys.readouterr().out
    for name in ("Python", "torch", "rasteriser", "tracker", "video", "open head", "GPU", "disk"):
        assert name in shown
    assert "writes h264" in shown and "Next: spatialavatar demo" in shown


@pytest.mark.usefixtures("quick")
def test_a_missing_kernel_and_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    monkeypatch.delattr(sys.modules["spatialavatar"], "_native", raising=False)
    monkeypatch.setitem(sys.modules, "spatialavatar._native", None)
    assert main(["doctor"]) == BUG
    shown = capsys.readouterr().out
    assert "the CPU kernel is not built" in shown and "apt install g++" in shown
    assert "0.0 GB free" in shown and "3 problems" in shown


@pytest.mark.usefixtures("quick")
def test_a_head_that_cannot_be_read_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flame.pkl").write_bytes(b"nothing of the kind")
    assert main(["doctor", "--head", str(tmp_path / "flame.pkl")]) == BUG
    shown = capsys.readouterr().out
    assert "head given" in shown and "1 problem:" in shown


@pytest.mark.slow
def test_the_tracker_is_really_loaded() -> None:
    (finding,) = doctor._mediapipe()
    assert finding.state == "ok" and "models load" in finding.value


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[doctor.Finding]:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "_mediapipe", broken)
    finding = next(f for f in doctor.examine() if f.name == "tracker")
    assert finding.state == "missing" and "libGL" in finding.value and finding.remedy
