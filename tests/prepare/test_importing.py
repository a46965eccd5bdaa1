"""Importing: other people's folders become ours, with their pixels, and a wrong head shows."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialavatar.cli.main import main
from spatialavatar.errors import UserError
from spatialavatar.files import new_folder_atomically
from spatialavatar.prepare import importing
from spatialavatar.prepare.importing import import_layout
from spatialavatar.sequence.folder import read_sequence, write_sequence
from spatialavatar.sequence.readers import read_layout
from tests.sequence.readers.test_layouts import check, write_imavatar, write_nersemble, write_vhap
from tests.sequence.readers.truth import FRAMES, flame_file, flame_head, truth
from tests.synthetic import subject


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
    if found.report["mattes_empty"]["cam_1"]:
        assert any("found no person in" in text for text in found.warnings)
        assert not any("is this the head" in text for text in found.warnings)


def test_nothing_is_left_of_an_import_that_fails(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError):
        import_layout("auto", tmp_path / "set", tmp_path / "out.tracked")
    assert not (tmp_path / "out.tracked").exists()


def without_mattes(folder: Path, frames: tuple[int, ...] = (0, 1, 2)) -> None:
    """Take the mattes out of VHAP's tables."""
    for file in folder.glob("transforms_*.json"):
        contents = json.loads(file.read_text())
        for frame in contents["frames"]:
            if frame["timestep_index"] in frames:
                del frame["fg_mask_path"]
        file.write_text(json.dumps(contents))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """A segmenter that finds the left half of any picture."""
    asked: list[tuple[int, ...]] = []

    class Half:
        def probability(self, image: np.ndarray) -> np.ndarray:
            asked.append(image.shape)
            found = np.zeros(image.shape[:2], np.float32)
            found[:, : image.shape[1] // 2] = 1
            return found

        def close(self) -> None:
            asked.append(())

    monkeypatch.setattr(importing, "Segmenter", Half)
    monkeypatch.setattr(importing, "refine_matte", lambda image, found, middle: (found * 255).astype(np.uint8))
    return asked


@pytest.mark.parametrize("frames", [(0, 1, 2), (1,)])
def test_frames_without_a_matte_get_ours_and_it_is_said(
    tmp_path: Path, drawn: list[tuple[int, ...]], frames: tuple[int, ...]
) -> None:
    pictures = write_vhap(tmp_path / "set", truth(shapes=300, codes=100))
    without_mattes(tmp_path / "set", frames)
    found = import_layout("vhap", tmp_path / "set", tmp_path / "out.tracked", head=flame_head())
    sequence = read_sequence(found.folders[0])
    for frame in range(FRAMES):
        matte = sequence.matte(frame).numpy()
        if frame in frames:
            assert (matte[:, :64] == 255).all() and (matte[:, 64:] == 0).all()
        else:
            assert (matte == pictures[8][frame][1]).all()
    assert len(drawn) == len(frames) + 1 and found.report["mattes_made"] == {"08": len(frames)}
    which = "the set has no mattes" if len(frames) == 3 else "1 of 3 frames have no matte of their own"
    assert f"{which}: they were made by our own segmentation." in found.warnings


def test_a_matte_that_covers_everything_counts_as_none(tmp_path: Path, drawn: list[tuple[int, ...]]) -> None:
    (tmp_path / "set").mkdir()
    write_imavatar(tmp_path / "set", truth(moves=False))
    for number, (path, alpha) in enumerate(
        zip(sorted((tmp_path / "set" / "image").iterdir()), (None, 255, 0), strict=True)
    ):
        with Image.open(path) as picture:
            plain = picture.convert("RGB")
        if alpha is None:
            plain.save(path)  # no alpha at all
        elif alpha:
            plain.putalpha(alpha)
            plain.save(path)  # one that says nothing
        else:
            assert number == 2
    found = import_layout("imavatar", tmp_path / "set", tmp_path / "out.tracked", head=flame_head())
    assert found.report["mattes_made"] == {"set": 2} and len(drawn) == 3
    assert "2 of 3 frames have no matte of their own: they were made by our own segmentation." in found.warnings


def test_what_was_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    write_vhap(tmp_path / "set", truth(shapes=300, codes=100))
    (tmp_path / "set" / "images" / "00001_08.png").unlink()
    (tmp_path / "set" / "fg_masks" / "00002_08.png").unlink()
    found = import_layout("vhap", tmp_path / "set", tmp_path / "out.tracked", head=flame_head())
    (text,) = (text for text in found.warnings if "left out" in text)
    assert "2 frames or files were left out" in text
    assert "its picture is missing (1, for example 00001, images/00001_08.png)" in text
    assert "its matte is missing (1, for example 00002, fg_masks/00002_08.png)" in text


def test_cameras_of_two_subjects_with_one_name_become_two_folders(tmp_path: Path) -> None:
    made = subject(3, 32, 16).sequence
    for name in ("ann", "ben"):
        (tmp_path / "set" / name).mkdir(parents=True)
        write_sequence(replace(made, source={"who": name}), tmp_path / "set" / name / "front")
    header = {"format": "spatialavatar.set", "format_version": 1, "subjects": ["ann", "ben"], "cameras": ["front"]}
    (tmp_path / "set" / "set.json").write_text(json.dumps(header))
    found = import_layout("tracked", tmp_path / "set", tmp_path / "out.tracked")
    assert [folder.name for folder in found.folders] == ["ann-front", "ben-front"]
    assert [read_sequence(folder).source["who"] for folder in found.folders] == ["ann", "ben"]
    for key in ("subjects", "cameras"):
        (tmp_path / "set" / "set.json").write_text(json.dumps({**header, key: ["../set/ann"]}))
        with pytest.raises(UserError, match="cannot be the name of a file"):
            read_layout("tracked", tmp_path / "set")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own on Windows")
def test_links_inside_what_is_replaced_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "Documents").mkdir()
    (tmp_path / "Documents" / "letter.txt").write_text("dear")
    write_vhap(tmp_path / "set", truth(shapes=300, codes=100))
    found = import_layout("vhap", tmp_path / "set", tmp_path / "out.tracked", head=flame_head())
    (found.folders[0] / "more").symlink_to(tmp_path / "Documents")
    with pytest.raises(UserError):
        import_layout("vhap", tmp_path / "set", tmp_path / "out.tracked", head=flame_head(), overwrite=True)
    # The same below that check: what is removed is the link.
    with new_folder_atomically(tmp_path / "out.tracked", overwrite=True) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in (tmp_path / "out.tracked").iterdir()] == ["new"]
    assert (tmp_path / "Documents" / "letter.txt").read_text() == "dear"
