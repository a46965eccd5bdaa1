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
    """Leave out what takes a second: loading the generator."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(doctor, "_generator", lambda: [doctor.Finding("generator", "ok", "not looked at")])


@pytest.mark.usefixtures("quick")
def test_a_machine_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == OK
    shown = capsys.readouterr().out
    for name in ("Python", "torch", "libraries", "OpenCV", "rasteriser", "package", "tracker", "generator", "video"):
        assert name in shown
    for name in ("open head", "page", "live driving", "GPU", "disk"):
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


def test_the_tracker_and_the_generator_are_really_loaded() -> None:
    (tracker,), (generator,) = doctor._tracker(), doctor._generator()
    assert tracker.state == generator.state == "ok"
    assert "mediapipe-0.10.14" in tracker.value and "million weights" in generator.value


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[doctor.Finding]:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "_tracker", broken)
    finding = next(f for f in doctor.examine() if f.name == "tracker")
    assert finding.state == "missing" and finding.value == "ImportError"
    assert "libGL" in finding.private and finding.remedy


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "module,name,state",
    [
        ("spatialavatar.create", "package", "missing"),
        ("cv2", "OpenCV", "missing"),
        ("skimage.measure", "libraries", "missing"),
        ("safetensors.torch", "libraries", "missing"),
        ("websockets.asyncio.server", "live driving", "missing"),
    ],
)
def test_what_cannot_be_imported_is_found(module: str, name: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert next(found for found in doctor.examine() if found.name == name).state == state


@pytest.mark.usefixtures("quick")
def test_an_opencv_without_contributed_parts_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.delattr(cv2, "ximgproc")
    finding = next(found for found in doctor.examine() if found.name == "OpenCV")
    assert finding.state == "missing" and "opencv-contrib-python-headless" in finding.remedy


@pytest.mark.usefixtures("quick")
def test_a_missing_page_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> str:
        raise FileNotFoundError("/home/someone/page/index.html")

    monkeypatch.setattr("spatialavatar.view.page.page_html", missing)
    finding = next(found for found in doctor.examine() if found.name == "page")
    assert finding.state == "missing" and finding.value == "FileNotFoundError" and "someone" in finding.private


@pytest.mark.usefixtures("quick")
def test_the_report_for_an_issue_names_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither folders nor users nor files, also where something is broken."""
    home = tmp_path / "someone"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(sys, "executable", str(home / "python"))

    def broken() -> list[doctor.Finding]:
        raise OSError(f"{home}/libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "_tracker", broken)
    (home / "someone.pkl").write_bytes(b"nothing of the kind")
    assert main(["doctor", "--report", "--head", str(home / "someone.pkl")]) == BUG
    report = capsys.readouterr().out
    assert "| tracker | problem | OSError |" in report and "| head given | problem |" in report
    assert "| torch | ok |" in report and "| Python | ok |" in report
    assert "someone" not in report and str(tmp_path) not in report and "libGL" not in report
    assert main(["doctor"]) == BUG
    assert "libGL" in capsys.readouterr().out
