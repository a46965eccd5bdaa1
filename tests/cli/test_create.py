"""`create`, `track`, `refine` and `demo`: what they refuse before any work, and what they leave."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from spatialavatar.avatar.file import load_avatar, save_avatar
from spatialavatar.cli.main import main
from spatialavatar.cli.run import BAD_INPUT, OK, STOPPED
from spatialavatar.drive.motion_file import read_motion
from spatialavatar.sequence.folder import read_sequence, write_sequence
from tests.synthetic import Subject, greyed, subject


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=6, size=64, resolution=24)


@pytest.fixture
def folder(made: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    save_avatar(greyed(made.avatar), tmp_path / "grey.avatar")
    indices = range(len(made.sequence))
    images, mattes = [made.sequence.image(i) for i in indices], [made.sequence.matte(i) for i in indices]
    write_sequence(made.sequence, tmp_path / "me.tracked", images, mattes)
    (tmp_path / "me.jpg").write_bytes(b"not really a photo")
    (tmp_path / "me.png").write_bytes(b"not really a photo")
    (tmp_path / "mine.preview.png").write_bytes(b"not really a photo")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "you.mp4"], "you.mp4: there is no such file"),
        (["create", "me.pgn"], "Did you mean me.png?"),
        (["create", "me.jpg"], "Use them: spatialavatar create me.tracked -o me.avatar; or track again"),
        (
            ["create", "mine.preview.png", "-o", "mine.avatar"],
            "mine.preview.png: this file is read by the command and cannot be its output",
        ),
        (["create", "me.png", "-o", "me.zip"], "the name of the output must end in .avatar, not .zip"),
        (["create", "me.png", "-o", "there/me.avatar"], "there: the folder to write into does not exist"),
        (["track", "you.mp4"], "you.mp4: there is no such file"),
        (["create", "x" * 240 + ".jpg"], "this name is too long: 247 bytes, at most 200"),
        (["create", "me.png", "-o", "x" * 240 + ".avatar"], "this name is too long: 247 bytes, at most 200"),
        (["refine", "x" * 300, "me.tracked", "-o", "b.avatar"], "there is no such file"),
        (["create", "a\0b.jpg"], "NUL"),
        (["track", "me.png"], "me.tracked: this folder exists already.\n  Add --overwrite"),
        (["track", "me.png", "-o", "x", "--size", "5"], "--size is 5; expected 64 to 2048"),
        (["track", "me.png", "-o", "x", "--focal", "26"], "expected 0.2 to 20"),
        (["track", "me.png", "-o", "x", "--every", "0"], "--every and --max-frames must be at least 1"),
        (["track", "me.png", "-o", "x.tracked"], "me.png"),
        (["refine", "grey.avatar", "you.tracked", "-o", "b.avatar"], "you.tracked: there is no such file"),
        (["refine", "me.png", "me.tracked", "-o", "b.avatar"], "me.png: this is not an avatar"),
        (["refine", "grey.avatar", "me.tracked", "-o", "b.avatar", "--hold-out", "tail"], "Use --hold-out none"),
        (["demo", "-o", "me.png"], "me.png: a file of this name is in the way"),
        (["demo", "-o", "there/demo"], "the folder to write into does not exist"),
    ],
)
def test_what_is_refused(folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(entry.name for entry in folder.iterdir())
    assert main(arguments) == BAD_INPUT
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err, captured.err
    assert sorted(entry.name for entry in folder.iterdir()) == before, "nothing is left behind"


def test_tracking_again_that_fails_keeps_the_old_frames(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(entry.name for entry in folder.iterdir())
    assert main(["create", "me.jpg", "--overwrite"]) == BAD_INPUT
    assert "me.jpg" in capsys.readouterr().err
    assert sorted(entry.name for entry in folder.iterdir()) == before
    assert len(read_sequence(folder / "me.tracked")) == 6


def test_refine_leaves_avatar_picture_and_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refine", "grey.avatar", "me.tracked", "-o", "better", "--iterations", "12"]) == OK
    shown = capsys.readouterr().out
    assert "Avatar:   better.avatar" in shown and "Next:     spatialavatar render better.avatar" in shown
    assert len(load_avatar(folder / "better.avatar")) == len(load_avatar(folder / "grey.avatar"))
    report = json.loads((folder / "better.report.json").read_text())
    assert report["command"] == "refine" and report["iterations"] == 12 and report["peak_memory_mb"] > 0
    assert (folder / "better.preview.png").exists()


def test_a_stopped_refinement_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spatialavatar.refine import refinement

    whole, calls = refinement.Refinement.step, 0

    def stopping(run: refinement.Refinement) -> object:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return whole(run)

    command = ["refine", "grey.avatar", "me.tracked", "-o", "better.avatar", "--iterations", "12"]
    monkeypatch.setattr(refinement.Refinement, "step", stopping)
    assert main(command) == STOPPED
    captured = capsys.readouterr()
    assert "Add --resume to go on" in captured.out and not (folder / "better.avatar").exists()
    assert main([*command, "--resume"]) == OK
    assert calls == 6 + 7, "five iterations were not done again"
    monkeypatch.undo()


def test_create_from_a_tracked_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "me.tracked", "--fast", "--iterations", "4", "-o", "made.avatar", "--consent", "me"]) == OK
    shown = capsys.readouterr().out
    assert "Avatar:   made.avatar" in shown and "Numbers:  made.report.json" in shown
    avatar = load_avatar(folder / "made.avatar")
    assert avatar.provenance["consent"] == "me" and avatar.layout.resolution == 128
    assert json.loads((folder / "made.report.json").read_text())["gaussians"] == len(avatar)


def test_refined_motion_is_written_and_drives(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--refine-motion", "--iterations", "4"]
    assert main(["refine", "grey.avatar", "me.tracked", "-o", "moved.avatar", *options]) == OK
    assert "Motion:   moved.motion.safetensors" in capsys.readouterr().out
    assert len(read_motion(folder / "moved.motion.safetensors")) == len(read_sequence(folder / "me.tracked"))
    assert main(["create", "me.tracked", "--fast", "-o", "made.avatar", *options]) == OK
    assert "Motion:   made.motion.safetensors" in capsys.readouterr().out
    assert (folder / "made.motion.safetensors").exists()


def test_another_subjects_head_edition(folder: Path, made: Subject, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(made.sequence, head_edition="flame-2023-abc")
    indices = range(len(other))
    write_sequence(other, folder / "her.tracked", [other.image(i) for i in indices], [other.matte(i) for i in indices])
    assert main(["refine", "grey.avatar", "her.tracked", "-o", "b.avatar"]) == BAD_INPUT
    assert "flame-2023-abc" in capsys.readouterr().err
    assert main(["render", "grey.avatar", "--drive", "her.tracked", "-o", "b.mp4"]) == BAD_INPUT
    assert "flame-2023-abc" in capsys.readouterr().err
