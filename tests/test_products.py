"""Which files and folders are ours: nothing else is written over or removed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatialavatar.avatar.file import save_avatar
from spatialavatar.cli.report import write_report
from spatialavatar.errors import UserError
from spatialavatar.export.rig import write_rig
from spatialavatar.files import write_json
from spatialavatar.products import (
    FOLDER_FILE,
    check_output,
    check_replaceable_folder,
    claim_folder,
    foreign_entry,
    made_here,
)
from spatialavatar.refine.preview import save_picture
from spatialavatar.sequence.folder import write_sequence
from tests.synthetic import painted_avatar, subject


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = subject(frames=2, size=32, resolution=16)
    folder = tmp_path_factory.mktemp("tracked") / "me.tracked"
    images = [made.sequence.image(index) for index in range(2)]
    mattes = [made.sequence.matte(index) for index in range(2)]
    write_sequence(made.sequence, folder, images, mattes, report={"command": "track"})
    return folder


def test_files_that_say_what_they_are(tmp_path: Path) -> None:
    save_avatar(painted_avatar(16), tmp_path / "me.avatar")
    save_picture(torch.zeros(8, 8, 3), tmp_path / "me.preview.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "holiday.png")
    (tmp_path / "other.avatar").write_bytes(b"an avatar of another program")
    write_json(tmp_path / "other.report.json", {"command": "theirs"})
    found = {path.name: made_here(path) for path in tmp_path.iterdir()}
    assert found == {
        "me.avatar": True,
        "me.preview.png": True,
        "holiday.png": False,
        "other.avatar": False,
        "other.report.json": False,
    }


def test_a_listed_file_is_ours_until_it_is_changed(tmp_path: Path) -> None:
    video = tmp_path / "take [1].csv"
    video.write_text("made")
    assert not made_here(video)
    report = write_report(video, "export", {}, {})
    assert made_here(video) and made_here(report)
    check_output(video, [])
    video.write_text("edited by hand")
    assert not made_here(video)
    with pytest.raises(UserError, match="never written over"):
        check_output(video, [])
    assert video.read_text() == "edited by hand"


@pytest.mark.parametrize("link", [False, True])
def test_an_input_is_never_an_output(tmp_path: Path, link: bool) -> None:
    save_avatar(painted_avatar(16), tmp_path / "me.avatar")
    output = tmp_path / "me.avatar"
    if link:
        output = tmp_path / "again.avatar"
        os.link(tmp_path / "me.avatar", output)
    with pytest.raises(UserError, match="cannot be its output"):
        check_output(output, [tmp_path / "me.avatar"])
    (tmp_path / "clips").mkdir()
    with pytest.raises(UserError, match="written into clips"):
        check_output(tmp_path / "clips" / "out.mp4", [tmp_path / "clips"])


def test_links_and_devices_are_not_ours(tmp_path: Path) -> None:
    save_avatar(painted_avatar(16), tmp_path / "me.avatar")
    (tmp_path / "link.avatar").symlink_to(tmp_path / "me.avatar")
    (tmp_path / "dangling.avatar").symlink_to(tmp_path / "nothing")
    for path in (tmp_path / "link.avatar", tmp_path / "dangling.avatar", Path(os.devnull)):
        with pytest.raises(UserError, match="never written over"):
            check_output(path, [])


def test_a_long_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too long: 207 bytes, at most 200"):
        check_output(tmp_path / ("x" * 200 + ".avatar"), [])
    with pytest.raises(UserError, match="too long: 307 bytes"):
        check_output(tmp_path / ("王" * 100 + ".avatar"), [])


def test_a_tracked_folder_is_replaceable_as_long_as_it_holds_nothing_else(tracked: Path) -> None:
    check_replaceable_folder(tracked, [])
    assert foreign_entry(tracked.parent) is None, "several cameras are folders in a folder"
    for place in ("notes.txt", "images/holiday.png", "mattes/mine.psd"):
        (tracked / place).write_bytes(b"mine")
        with pytest.raises(UserError, match=place):
            check_replaceable_folder(tracked, [])
        (tracked / place).unlink()
    with pytest.raises(UserError, match="which the command reads"):
        check_replaceable_folder(tracked, [tracked / "images" / "00000.png"])


def test_a_rig_is_replaceable_as_long_as_it_holds_nothing_else(tmp_path: Path) -> None:
    write_rig(painted_avatar(16), tmp_path / "me.rig", 32)
    write_report(tmp_path / "me.rig", "export", {}, {})
    check_replaceable_folder(tmp_path / "me.rig", [])
    write_rig(painted_avatar(16), tmp_path / "me.rig", 32, overwrite=True)
    (tmp_path / "me.rig" / "model.blend").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"model\.blend"):
        write_rig(painted_avatar(16), tmp_path / "me.rig", 32, overwrite=True)


@pytest.mark.parametrize("content", [{}, {"sequence.json": "{}"}, {"rig.json": '{"format": "theirs"}'}, {"a": "b"}])
def test_any_other_folder_is_left_alone(tmp_path: Path, content: dict[str, str]) -> None:
    folder = tmp_path / "me.tracked"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    if content:
        with pytest.raises(UserError, match="did not make"):
            check_replaceable_folder(folder, [])
        made = subject(frames=1, size=32, resolution=16).sequence
        with pytest.raises(UserError, match="did not make"):
            write_sequence(made, folder, [made.image(0)], [made.matte(0)], overwrite=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == content


def test_a_folder_is_claimed_once_and_by_one_command(tmp_path: Path) -> None:
    claim_folder(tmp_path / "scores", "evaluate self")
    claim_folder(tmp_path / "scores", "evaluate self")
    assert json.loads((tmp_path / "scores" / FOLDER_FILE).read_text())["command"] == "evaluate self"
    with pytest.raises(UserError, match="belongs to `spatialavatar evaluate self`"):
        claim_folder(tmp_path / "scores", "train")
    (tmp_path / "documents").mkdir()
    claim_folder(tmp_path / "documents", "train")  # empty
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="not empty"):
        claim_folder(tmp_path / "photos", "train")
    with pytest.raises(UserError, match="is read"):
        claim_folder(tmp_path / "new", "evaluate", [tmp_path / "new"])
    with pytest.raises(UserError, match="does not exist"):
        claim_folder(tmp_path / "a" / "b", "evaluate")
    assert sorted(path.name for path in (tmp_path / "photos").iterdir()) == ["a.jpg"]
