"""Importing: other people's folders become ours, with their pixels, and a wrong head shows."""

import json
from pathlib import Path

import pytest

from spatialavatar.cli.main import main
from spatialavatar.errors import UserError
from spatialavatar.prepare.importing import import_layout
from spatialavatar.sequence.folder import read_sequence
from tests.sequence.readers.test_layouts import check, write_imavatar, write_nersemble, write_vhap
from tests.sequence.readers.truth import FRAMES, flame_file, flame_head, truth


def test_one_camera_becomes_a_tracked_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = truth(moves=False)
    (tmp_path / "set").mkdir()
    pictures = write_imavatar(tmp_path / "set", known)
    # The same model with teeth-free mouth or not: the file decides, as it will for the reader of the result.
    model = str(flame_file(tmp_path / "flame.npz"))
    out = tmp_path / "bala.tracked"
    assert main(["import", "imavatar", str(tmp_path / "set"), "--head", model, "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "3 frames, the mesh overlaps the mattes by 0.9" in printed or "by 1.00" in printed
    check(read_sequence(out), known, pictures)
    assert main(["import", "imavatar", str(tmp_path / "set"), "--head", model, "-o", str(out)]) == 2  # it exists


def test_cameras_become_folders_and_what_was_left_out_is_reported(tmp_path: Path) -> None:
    write_vhap(tmp_path / "set", truth(shapes=300, codes=100), (3, 8))
    (tmp_path / "set" / "fg_masks" / "00002_08.png").unlink()
    found = import_layout("auto", tmp_path / "set", tmp_path / "out.tracked", head=flame_head())
    assert [folder.name for folder in found.folders] == ["03", "08"]
    assert all(len(read_sequence(folder)) == FRAMES - 1 for folder in found.folders)
    report = json.loads((tmp_path / "out.tracked" / "08" / "report.json").read_text())
    assert report["frames_skipped"] == 2 and report["skipped"][0]["why"] in (
        "its matte is missing",
        "camera 08 lacks it",
    )
    assert any("2 frames or files were left out" in text for text in found.warnings)


def test_a_mesh_that_does_not_lie_on_its_mattes_is_told(tmp_path: Path) -> None:
    known = truth(moves=False)
    (tmp_path / "set").mkdir()
    write_imavatar(tmp_path / "set", known)
    contents = json.loads((tmp_path / "set" / "flame_params.json").read_text())
    for frame in contents["frames"]:
        frame["world_mat"][0][3] += 0.6  # fifteen centimetres to the side
    (tmp_path / "set" / "flame_params.json").write_text(json.dumps(contents))
    found = import_layout("imavatar", tmp_path / "set", tmp_path / "out.tracked", head=flame_head())
    assert any("is this the head the set was tracked with" in text for text in found.warnings)


def test_mattes_are_made_where_a_set_has_none(tmp_path: Path) -> None:
    place = write_nersemble(tmp_path, truth(shapes=300, codes=100), {"1": FRAMES})
    found = import_layout("nersemble", place, tmp_path / "out.tracked", head=flame_head())
    sequence = read_sequence(found.folders[0])
    # Plain grey pictures show nobody.
    assert float(sequence.matte(0).float().mean()) < 128


def test_nothing_is_left_of_an_import_that_fails(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError):
        import_layout("auto", tmp_path / "set", tmp_path / "out.tracked")
    assert not (tmp_path / "out.tracked").exists()
