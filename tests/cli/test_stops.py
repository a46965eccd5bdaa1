"""Stopping and going on, as the person at the terminal sees it: what is said is true, and the files are the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spatialavatar.avatar.file import save_avatar
from spatialavatar.cli import stopped
from spatialavatar.cli.main import main
from spatialavatar.cli.run import BAD_INPUT, OK, STOPPED
from spatialavatar.create import CreateOptions
from spatialavatar.files import only_one_makes
from spatialavatar.sequence.folder import write_sequence
from tests.synthetic import Subject, greyed, subject

REFINE = ["refine", "grey.avatar", "me.tracked", "-o", "better.avatar", "--iterations", "12"]
CREATE = ["create", "me.tracked", "-o", "made.avatar", "--fast", "--iterations", "4"]


Contents = tuple[dict[str, object], bytes]


def contents(path: Path) -> Contents:
    """All that an avatar's file says but the time at which it was written, and every byte of its tensors."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    listing = json.loads(data[8 : 8 + length])
    header = json.loads(listing["__metadata__"].pop("header"))
    assert header.pop("created")
    return {**listing, "header": header}, data[8 + length :]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """`create` in half a second: what is stopped and resumed is the same at any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CreateOptions, "resolution", 16)
        yield


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=4, size=48, resolution=16)


@pytest.fixture(scope="module")
def inputs(made: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inputs")
    save_avatar(greyed(made.avatar), root / "grey.avatar")
    write_sequence(made.sequence, root / "me.tracked")
    return root


@pytest.fixture
def folder(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


@pytest.fixture(scope="module")
def whole(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Contents]:
    """What runs that nobody stops write."""
    root = tmp_path_factory.mktemp("whole")
    shutil.copytree(inputs, root, dirs_exist_ok=True)
    before = Path.cwd()
    os.chdir(root)
    try:
        assert main(REFINE) == OK and main(CREATE) == OK
    finally:
        os.chdir(before)
    return {name: contents(root / name) for name in ("better.avatar", "made.avatar")}


def signals(monkeypatch: pytest.MonkeyPatch, place: str, name: str, number: int, times: int = 1) -> None:
    """A signal at the `times`-th entry of a function."""
    module = sys.modules[place] if place in sys.modules else __import__(place, fromlist=["_"])
    original: Callable[..., object] = getattr(module, name)
    left = times

    def signalling(*arguments: object, **more: object) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            signal.raise_signal(number)
        return original(*arguments, **more)

    monkeypatch.setattr(module, name, signalling)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} - {"grey.avatar", "me.tracked"}


LEFT = {"better.avatar", "better.preview.png", "better.report.json"}


@pytest.mark.parametrize(
    ("place", "name", "times", "said", "left"),
    [
        # During the start, while it iterates, and between the last iteration and each file.
        ("sequence.folder", "read_sequence", 1, "before there was anything to go on from", set()),
        ("refine.refinement", "work_by_kernel", 5, "after iteration 5; nothing is lost. Add --resume", set()),
        ("refine.loop", "aspect_figures", 1, "the state after iteration 12 is kept. Add --resume", set()),
        ("refine.preview", "contact_sheet", 1, "after iteration 12 is kept", set()),
        ("cli.refine", "write_report", 1, "after iteration 12 is kept", LEFT - {"better.report.json"}),
    ],
)
def test_refine_goes_on_from_any_moment_to_the_same_bytes(
    folder: Path,
    whole: dict[str, Contents],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    name: str,
    times: int,
    said: str,
    left: set[str],
) -> None:
    signals(monkeypatch, f"spatialavatar.{place}", name, signal.SIGINT, times)
    assert main(REFINE) == STOPPED
    captured = capsys.readouterr()
    assert said in captured.out and "Traceback" not in captured.err, captured
    kept = set() if "anything" in said else {"better.checkpoint.safetensors"}
    assert names(folder) == left | kept, "nothing is half-written, and what is said to be kept is there"
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert main([*REFINE, "--resume"]) == OK
    assert ("There is no better.checkpoint.safetensors to resume from" in capsys.readouterr().err) is not kept
    assert names(folder) == LEFT and contents(folder / "better.avatar") == whole["better.avatar"]


@pytest.mark.parametrize(
    ("place", "name", "said"),
    [
        ("spatialavatar.create", "start_avatar", "before there was anything to go on from"),
        ("spatialavatar.refine.refinement", "work_by_kernel", "after iteration 1; nothing is lost"),
        ("spatialavatar.create", "write_json", "after iteration 4 is kept"),
    ],
)
def test_create_goes_on_from_any_moment_to_the_same_bytes(
    folder: Path,
    whole: dict[str, Contents],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    name: str,
    said: str,
) -> None:
    signals(monkeypatch, place, name, signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(CREATE) == STOPPED
    finally:
        signal.signal(signal.SIGTERM, before)
    assert said in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert main([*CREATE, "--resume"]) == OK
    assert names(folder) == {"made.avatar", "made.preview.png", "made.report.json"}
    assert contents(folder / "made.avatar") == whole["made.avatar"]


def test_a_checkpoint_of_an_earlier_run_is_neither_claimed_nor_replaced_in_silence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signals(monkeypatch, "spatialavatar.refine.refinement", "work_by_kernel", signal.SIGINT, 5)
    assert main(REFINE) == STOPPED
    capsys.readouterr()
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    signals(monkeypatch, "spatialavatar.sequence.folder", "read_sequence", signal.SIGINT)
    assert main(REFINE) == STOPPED
    captured = capsys.readouterr()
    assert "a stopped run left after iteration 5, will be replaced. To go on from it, stop this run" in captured.err
    assert (
        "before there was a checkpoint; better.checkpoint.safetensors is still that of the earlier run" in captured.out
    )


def test_frames_of_other_files_are_not_resumed_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "you.jpg").write_bytes(b"a photo, as far as the command line looks")
    (folder / "me.tracked").rename(folder / "you.tracked")
    assert main(["create", "you.jpg", "--resume"]) == BAD_INPUT
    assert "you.tracked: these frames are of something else, not of you.jpg" in capsys.readouterr().err


@pytest.mark.parametrize("command", [CREATE, REFINE], ids=lambda command: command[0])
def test_a_second_run_into_one_output_is_refused(
    folder: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(command[command.index("-o") + 1])
    with only_one_makes(output):
        before = names(folder)
        assert main(command) == BAD_INPUT
        assert f"{output}: another run is making this" in capsys.readouterr().err
        assert names(folder) == before


def test_what_is_said_of_tracked_frames(tmp_path: Path) -> None:
    stop = KeyboardInterrupt()
    output, tracked = tmp_path / "me.avatar", tmp_path / "me.tracked"
    earlier = stopped.Earlier.at(output, resume=False, tracks=True)
    assert "before there was anything" in earlier.kept(stop)
    tracked.mkdir()
    assert "the tracked frames are kept. Add --resume" in earlier.kept(stop)
    again = stopped.Earlier.at(output, resume=False, tracks=True)
    assert "is as it was, and tracking again begins anew" in again.kept(stop)
    assert "the tracked frames are kept" in stopped.Earlier.at(output, resume=True, tracks=True).kept(stop)
    tracked.rename(tmp_path / "old")
    tracked.mkdir()
    assert "the tracked frames are kept" in again.kept(stop)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_for_good_and_gone_on_with(
    folder: Path, whole: dict[str, Contents], capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9 of a real process while it refines: its hidden files are named and gone after the next run."""
    code = """
import os, sys
from spatialavatar.cli.main import main
from spatialavatar.refine import checkpoint
save = checkpoint.save_file
def die(*arguments):
    save(*arguments)
    os.kill(os.getpid(), 9)
checkpoint.save_file = die
main(sys.argv[1:])
"""
    done = subprocess.run([sys.executable, "-c", code, *REFINE], capture_output=True, text=True, cwd=folder)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = {name for name in names(folder) if name.startswith(".")}
    assert len(left) == 2 == len(names(folder)), "a checkpoint that was not whole, and a lock"
    began = time.time()
    assert main([*REFINE, "--resume"]) == OK
    assert names(folder) == LEFT and contents(folder / "better.avatar") == whole["better.avatar"]
    assert (folder / "better.avatar").stat().st_mtime >= began - 1


def test_what_is_said_after_a_stop_needs_no_torch() -> None:
    """A stop may fall into the import of PyTorch, and a second import of it fails."""
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from spatialavatar.cli.stopped import Earlier\n"
        "path = Path('some.avatar')\n"
        "path.with_suffix('.checkpoint.safetensors').write_bytes(b'cut')\n"
        "print(Earlier.at(path, resume=False, tracks=True).kept(KeyboardInterrupt()))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Stopped before there was anything to go on from" in done.stdout
