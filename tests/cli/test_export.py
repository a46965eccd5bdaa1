"""`export`, from files to files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spatialavatar.avatar.file import load_avatar, save_avatar
from spatialavatar.cli.main import main
from spatialavatar.cli.run import BAD_INPUT, OK
from spatialavatar.drive.load import load_recording
from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.export.ply import read_ply
from spatialavatar.export.spz import read_spz
from tests.drive.sources import live_link_table, stamped_table
from tests.export.test_rig import flame_avatar
from tests.oracles.gltf import read_glb
from tests.synthetic import painted_avatar


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    save_avatar(replace(painted_avatar(24), provenance={"consent": "yes"}), tmp_path / "me.avatar")
    live_link_table(tmp_path / "take.csv", [{}, {"JawOpen": 1.0}])
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("ply", "me.ply"), ("spz", "me.spz"), ("gltf", "me.splats.glb"), ("glb-mesh", "me.mesh.glb")),
        *(("rig", "me.rig"), ("html", "me.html")),
    ],
)
def test_every_format_by_default(folder: Path, kind: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "me.avatar", "--to", kind, "--texture-size", "64"]) == OK
    shown = capsys.readouterr().out
    assert f"Written:  {name}" in shown and "Opens in: " in shown
    report = folder / name / "report.json" if kind == "rig" else folder / f"{name}.report.json"
    numbers = json.loads(report.read_text())
    assert numbers["to"] == kind and numbers["bytes"] > 1000 and numbers["gaussians"] > 0 and numbers["seconds"] > 0


def test_a_ply_has_y_down_unless_told_otherwise(folder: Path) -> None:
    assert main(["export", "me.avatar", "--to", "ply"]) == OK
    assert main(["export", "me.avatar", "--to", "ply", "--y-up", "-o", "up.ply"]) == OK
    down, up = read_ply("me.ply").positions, read_ply("up.ply").positions
    assert float(up[:, 1].min()) < -0.15, "shoulders hang down"
    assert bool((down == up * up.new_tensor([1.0, -1.0, -1.0])).all())


def test_a_frame_of_a_driver_is_the_pose(folder: Path) -> None:
    assert main(["export", "me.avatar", "--to", "spz", "--drive", "take.csv", "-o", "shut.spz"]) == OK
    assert main(["export", "me.avatar", "--to", "spz", "--drive", "take.csv", "--frame", "1", "-o", "open.spz"]) == OK
    moved = (read_spz("open.spz").positions - read_spz("shut.spz").positions).norm(dim=-1)
    assert float(moved.max()) > 0.01, "the chin drops by more than a centimetre"
    assert float(moved.median()) < 1e-3, "most of the head stays"


def test_motion_goes_from_table_to_table(folder: Path) -> None:
    arguments = ["export", "me.avatar", "--to", "motion", "--drive", "take.csv"]
    head = load_avatar("me.avatar").head
    truth = load_recording("take.csv", head).motion.expression
    for name in ("a.motion.safetensors", "b.npz", "c.flame.npz", "d.csv"):
        assert main([*arguments, "-o", name]) == OK
        assert bool((load_recording(name, head).motion.expression == truth).all()), name


def test_a_bundle_is_replaced_only_when_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "me.avatar", "--to", "rig", "--texture-size", "32"]
    assert main(arguments) == OK
    assert main(arguments) == BAD_INPUT
    assert "this bundle exists already" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == OK
    (folder / "mine.rig").mkdir()
    assert main([*arguments, "-o", "mine.rig", "--overwrite"]) == BAD_INPUT
    assert "in the way" in capsys.readouterr().err, "another folder is not ours to replace"


def test_a_gated_heads_data_is_not_passed_on_silently(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_avatar(flame_avatar(folder), folder / "her.avatar")
    base = ["export", "her.avatar", "--head", "flame.npz", "--texture-size", "32"]
    for kind in ("glb-mesh", "rig", "html"):
        assert main([*base, "--to", kind]) == BAD_INPUT
        assert "--i-have-the-licence" in capsys.readouterr().err
    assert not list(folder.glob("her.*.glb")) and not (folder / "her.rig").exists()
    assert main([*base, "--to", "glb-mesh", "--i-have-the-licence"]) == OK
    assert "Licence:  It holds data of FLAME" in capsys.readouterr().out
    assert main([*base, "--to", "ply"]) == OK, "one pose holds none of the model"
    assert "Licence" not in capsys.readouterr().out
    assert read_glb(folder / "her.mesh.glb").document["meshes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["you.avatar", "--to", "ply"], "you.avatar: there is no such file.\n  Did you mean me.avatar?"),
        (["me.avatar", "--to", "ply", "-o", "me.spz"], "must end in .ply"),
        (["me.avatar", "--to", "ply", "-o", "nowhere/me.ply"], "nowhere: the folder to write into does not exist"),
        (["me.avatar", "--to", "motion"], "--to motion writes what --drive holds"),
        (["me.avatar", "--to", "motion", "--drive", "take.csv", "-o", "take.bvh"], "must end in .motion.safetensors"),
        (["me.avatar", "--to", "ply", "--frame", "3"], "--frame picks a frame of --drive"),
        (["me.avatar", "--to", "ply", "--drive", "take.csv", "--frame", "2"], "take.csv has 2 frames"),
        (["me.avatar", "--to", "rig", "--texture-size", "4"], "--texture-size is 4; expected 16 to 8192"),
        (["take.csv", "--to", "ply"], "this is not an avatar"),
    ],
)
def test_bad_input_is_one_message(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(entry.name for entry in folder.iterdir())
    assert main(["export", *arguments]) == BAD_INPUT
    captured = capsys.readouterr()
    assert message in captured.err, captured.err
    assert "Traceback" not in captured.err
    assert sorted(entry.name for entry in folder.iterdir()) == before, "nothing is left behind"


def test_what_a_reader_has_to_say_is_said_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamps = [f"00:00:{index // 30:02d}:{index % 30:02d}.000" for index in range(45)]
    stamped_table(folder / "percent.csv", stamps, [2.0 * index for index in range(45)])
    arguments = ["export", "me.avatar", "--to", "motion", "--drive", "percent.csv", "-o", "o.csv"]
    assert main(arguments) == OK
    shown = capsys.readouterr()
    assert shown.err == "percent.csv: its weights reach 88 and were taken as percent.\n"
    assert main([*arguments, "--frame-rate", "60"]) == OK
    assert "its time stamps say 30 frames/s; the 60 frames/s given were taken instead." in capsys.readouterr().err
    assert load_recording("o.csv", load_avatar("me.avatar").head, frame_rate=60.0).notes == ()


def test_left_stays_left_in_the_apps_table(folder: Path) -> None:
    weights = np.zeros((3, 52))
    weights[:, ARKIT_NAMES.index("jawLeft")] = [0.0, 0.4, 0.8]
    np.savez(folder / "jaw.npz", weights=weights, frame_rate=30)
    assert main(["export", "me.avatar", "--to", "motion", "--drive", "jaw.npz", "-o", "o.csv"]) == OK
    header, *rows = [line.split(",") for line in (folder / "o.csv").read_text().splitlines()]
    assert [row[header.index("JawLeft")][:3] for row in rows] == ["0.0", "0.4", "0.8"]
    assert {row[header.index("JawRight")] for row in rows} == {"0.0000000000"}
