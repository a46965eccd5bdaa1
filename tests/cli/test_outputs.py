"""No command writes over, or removes, what it did not make: not by default names, not by -o, not by --overwrite."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from spatialavatar.avatar.file import save_avatar
from spatialavatar.cli.main import main
from spatialavatar.cli.run import BAD_INPUT, OK
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.sequence.video import write_video
from tests.drive.sources import live_link_table
from tests.synthetic import Subject, subject


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=4, size=32, resolution=16)


@pytest.fixture
def folder(made: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: me.mp4 and you.mp4, the avatar and the tracked frames of the first, and other files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    images = [made.sequence.image(index) for index in range(4)]
    mattes = [made.sequence.matte(index) for index in range(4)]
    for name in ("me.mp4", "you.mp4"):
        write_video(tmp_path / name, [image.numpy() for image in images], 25)
    save_avatar(replace(made.avatar, provenance={"consent": "yes"}), tmp_path / "me.avatar", preview_png=b"PNG")
    write_sequence(made.sequence, tmp_path / "me.tracked", images, mattes)
    live_link_table(tmp_path / "take.csv", [{}, {"JawOpen": 1.0}])
    for name in ("me.ply", "me.html", "mine.png", "mine.motion.safetensors", "me.report.json", "mine.avatar"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "will.txt").write_text("mine")
    (tmp_path / "mine.rig").mkdir()
    (tmp_path / "mine.rig" / "rig.json").write_text("{}")
    (tmp_path / "mine.tracked").mkdir()
    (tmp_path / "mine.tracked" / "sequence.json").write_text("{}")
    return tmp_path


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


SMALL = ["--size", "32", "--frames", "2"]
REASONS = (
    *("never written over", "did not make", "cannot be its output", "written into", "which the command reads"),
    *("this is in the way", "something else than a set"),
)
REFUSED = [
    ["render", "me.avatar", *SMALL, "-o", "me.mp4"],
    ["render", "me.avatar", *SMALL, "-o", "mine.png"],
    ["render", "me.avatar", *SMALL, "--drive", "you.mp4", "-o", "you.mp4"],
    ["render", "me.avatar", *SMALL, "--drive", "me.tracked", "-o", "me.tracked/out.mp4"],
    ["render", "me.avatar", *SMALL, "--save-motion", "mine.motion.safetensors"],
    ["export", "me.avatar", "--to", "ply"],
    ["export", "me.avatar", "--to", "html", "--overwrite"],
    ["export", "me.avatar", "--to", "motion", "--drive", "take.csv", "-o", "take.csv"],
    ["export", "me.avatar", "--to", "rig", "-o", "mine.rig", "--overwrite"],
    ["export", "me.avatar", "--to", "rig", "-o", "documents", "--overwrite"],
    ["create", "me.mp4"],  # its report would be me.report.json
    ["create", "you.mp4", "-o", "mine.avatar", "--overwrite"],
    ["refine", "me.avatar", "me.tracked", "-o", "me.avatar"],
    ["refine", "me.avatar", "me.tracked", "-o", "mine.avatar"],
    ["track", "you.mp4", "-o", "mine.tracked", "--overwrite"],
    ["track", "me.tracked/images/00000.png", "-o", "me.tracked", "--overwrite"],
    ["import", "tracked", "me.tracked", "-o", "mine.tracked", "--overwrite"],
    ["import", "tracked", "me.tracked", "--overwrite"],
    ["evaluate", "self", "me.tracked", "-o", "documents"],
    ["evaluate", "cross", "me.tracked", "-o", "documents"],
    ["evaluate", "table", "9", "--data", "me.tracked", "-o", "documents"],
    ["evaluate", "--predictions", "me.tracked/images", "--targets", "me.tracked", "-o", "documents"],
    ["prepare", "videos", ".", "-o", "documents"],
    ["train", "phase1", "--data", "me.tracked", "-o", "documents"],
    ["synth", "held_out", "-o", "documents"],
    ["demo", "-o", "documents"],
    ["info", "me.avatar", "-o", "mine.png"],
    ["bench", "-o", "me.avatar"],
]


@pytest.mark.parametrize("arguments", REFUSED, ids=lambda arguments: " ".join(arguments)[:60])
def test_what_is_the_users_stays(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(folder)
    assert main(arguments) == BAD_INPUT
    captured = capsys.readouterr()
    assert any(reason in captured.err for reason in REASONS), captured.err
    assert hashes(folder) == before


def test_the_default_names_keep_the_recording(folder: Path) -> None:
    before = hashes(folder)
    for _ in range(2):  # and a second time over what the first made
        assert main(["render", "me.avatar", *SMALL]) == OK
        assert main(["render", "me.avatar", *SMALL, "--drive", "take.csv", "-o", "out.mp4"]) == OK
        assert main(["export", "me.avatar", "--to", "spz"]) == OK
        assert main(["export", "me.avatar", "--to", "motion", "--drive", "take.csv", "-o", "copy.csv"]) == OK
        assert main(["info", "me.avatar"]) == OK
    after = hashes(folder)
    assert {name: after[name] for name in before} == before
    assert {"me.render.mp4", "out.mp4", "me.spz", "copy.csv"} <= after.keys()


def test_an_export_that_was_edited_by_hand_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = ["export", "me.avatar", "--to", "motion", "--drive", "take.csv", "-o", "copy.csv"]
    assert main(export) == OK
    (folder / "copy.csv").write_text((folder / "copy.csv").read_text() + "\n")
    edited = (folder / "copy.csv").read_bytes()
    assert main(export) == BAD_INPUT
    assert "changed since" in capsys.readouterr().err
    assert (folder / "copy.csv").read_bytes() == edited
