"""Files of sets under the names that copying, unpacking and other systems give them, and names that lead elsewhere."""

import json
import math
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.prepare.importing import import_layout
from spatialavatar.sequence.readers import read_layout
from spatialavatar.sequence.readers.lmdb_file import open_lmdb
from spatialavatar.sequence.readers.places import IMAGE_SUFFIXES, SetFolder
from tests.sequence.readers.test_layouts import (
    check,
    write_gagavatar,
    write_imavatar,
    write_metrical,
    write_nersemble,
    write_vhap,
)
from tests.sequence.readers.truth import FRAMES, flame_head, truth

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own on Windows")


@pytest.fixture
def place(tmp_path: Path) -> SetFolder:
    for name in ("images/00001.PNG", "images/00002.jpg", "masks/a/b.png", "lone.npz", "Images2/x.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"x")
    (tmp_path / "outside.png").write_bytes(b"x")
    return SetFolder(tmp_path / "set")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("images/00001.PNG", "images/00001.PNG"),
        ("images\\00001.png", "images/00001.PNG"),
        (".\\images\\00001", "images/00001.PNG"),
        ("./images/00002.png", "images/00002.jpg"),
        ("IMAGES/00002", "images/00002.jpg"),
        ("/home/them/data/set/images/00001.png", "images/00001.PNG"),
        ("D:\\data\\set\\masks\\a\\b.png", "masks/a/b.png"),
        ("../other/images/00002.jpg", "images/00002.jpg"),
        ("images2/x.png", "Images2/x.png"),
        ("/x/lone.npz", "lone.npz"),
        ("images/00003.png", None),
        ("outside.png", None),
        ("../outside.png", None),
        ("images", None),
        ("", None),
        ("/", None),
        ("images/00001\0.png", None),
        (None, None),
        (7, None),
    ],
)
def test_a_file_is_found_as_a_table_names_it(place: SetFolder, told: object, found: str | None) -> None:
    path = place.find(told, IMAGE_SUFFIXES)
    assert path == (None if found is None else place.folder / found)
    # Where it would be is inside, whatever the table says.
    assert place.place(told, IMAGE_SUFFIXES).resolve().is_relative_to(place.folder.resolve())


def test_other_letters_case_is_not_guessed_between_two(tmp_path: Path) -> None:
    for name in ("a.png", "A.PNG"):
        (tmp_path / name).write_bytes(b"x")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system has one name for both")
    place = SetFolder(tmp_path)
    assert place.find("A.PNG") == tmp_path / "A.PNG" and place.find("a.PNG") is None


@needs_links
def test_links_that_lead_out_are_not_followed(place: SetFolder) -> None:
    (place.folder / "images" / "00009.png").symlink_to(place.folder.parent / "outside.png")
    (place.folder / "inside.png").symlink_to(place.folder / "images" / "00002.jpg")
    with pytest.raises(UserError, match="a link that leads out of the set's folder"):
        place.find("images/00009.png")
    assert place.find("inside.png") is not None
    (place.folder / "linked").symlink_to(place.folder.parent)
    with pytest.raises(UserError, match="a link that leads out of the set's folder"):
        SetFolder(place.folder).find("linked/outside.png")


# ---------------------------------------------------------------- whole sets


def retold(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change every frame of VHAP's tables."""
    for file in folder.glob("transforms_*.json"):
        contents = json.loads(file.read_text())
        for frame in contents["frames"]:
            change(frame)
        file.write_text(json.dumps(contents))


def paths_as(write: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    def change(frame: dict[str, Any]) -> None:
        for key in ("file_path", "fg_mask_path", "flame_param_path"):
            frame[key] = write(frame[key])

    return change


WRITTEN = {
    "backslashes": lambda path: path.replace("/", "\\"),
    "absolute": lambda path: f"/mnt/them/subject/{path}",
    "drive": lambda path: "E:\\export\\subject\\" + path.replace("/", "\\"),
    "beside": lambda path: f"../../subject/{path}",
    "no suffix": lambda path: path.rsplit(".", 1)[0],
    "case of the suffix": lambda path: path.replace(".png", ".PNG").replace(".npz", ".NPZ"),
    "another suffix": lambda path: path.replace(".png", ".jpg"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_vhap_with_paths_as_other_machines_write_them(tmp_path: Path, how: str) -> None:
    known = truth(shapes=300, codes=100)
    pictures = write_vhap(tmp_path, known)
    retold(tmp_path, paths_as(WRITTEN[how]))
    reading = read_layout("vhap", tmp_path, flame_head())
    check(reading.sequences[0], known, pictures[8])
    assert not reading.skipped


@pytest.mark.parametrize("how", ["backslashes", "absolute", "drive"])
def test_imavatar_with_paths_as_other_machines_write_them(tmp_path: Path, how: str) -> None:
    known = truth(moves=False)
    pictures = write_imavatar(tmp_path, known)
    contents = json.loads((tmp_path / "flame_params.json").read_text())
    for frame in contents["frames"]:
        frame["file_path"] = WRITTEN[how](frame["file_path"].removeprefix("./"))
    (tmp_path / "flame_params.json").write_text(json.dumps(contents))
    sequence = read_layout("imavatar", tmp_path, flame_head()).sequences[0]
    check(sequence, known, pictures)
    assert sequence.names == ("1", "2", "3")


def test_other_layouts_with_suffixes_in_capitals(tmp_path: Path) -> None:
    known = truth(body=False, neck=False, moves=False, shapes=300, codes=100)
    pictures = write_metrical(tmp_path / "metrical", known)
    known_far = truth(body=False, neck=False, moves=False, shapes=300, codes=100, focal=6.0)
    known_far.k[:] = [[3072, 0, 256], [0, 3072, 256], [0, 0, 1]]
    write_gagavatar(tmp_path / "gagavatar", known_far, in_lmdb=False)
    nersemble = write_nersemble(tmp_path, truth(shapes=300, codes=100), {"1": FRAMES})
    for folder in ("metrical", "gagavatar"):
        for path in (tmp_path / folder / "images").iterdir():
            path.rename(path.with_suffix(".PNG"))
    (nersemble / "images" / "cam_1.mp4").rename(nersemble / "images" / "cam_1.MP4")
    check(read_layout("metrical", tmp_path / "metrical", flame_head()).sequences[0], known, pictures)
    assert len(read_layout("gagavatar", tmp_path / "gagavatar", flame_head()).sequences[0]) == FRAMES
    assert len(read_layout("nersemble", nersemble, flame_head()).sequences[0]) == FRAMES


def test_what_is_missing_is_named_with_its_number(tmp_path: Path) -> None:
    write_vhap(tmp_path, truth(shapes=300, codes=100))
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(
        UserError, match="none of the 3 frames of this set can be used: its picture is missing"
    ) as found:
        read_layout("vhap", tmp_path, flame_head())
    assert "(3, for example 00000, images/00000_08.png)" in str(found.value)
    assert found.value.hint is not None and "Looked for inside the folder: images/00000_08.png" in found.value.hint


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda folder: [p.write_bytes(p.read_bytes()[:200]) for p in folder.glob("images/*")], "download it again"),
        (lambda folder: retold(folder, lambda frame: frame.update(transform_matrix=[math.nan] * 16)), "track the"),
        (lambda folder: [p.unlink() for p in folder.glob("flame_param/*")], "flame_param/00000.npz"),
        (lambda folder: retold(folder, lambda frame: frame.update(fl_x=-1.0)), "track the set again"),
    ],
)
def test_the_hint_fits_the_fault(tmp_path: Path, change: Callable[[Path], object], hint: str) -> None:
    write_vhap(tmp_path, truth(shapes=300, codes=100))
    change(tmp_path)
    with pytest.raises(UserError, match="none of the 3 frames") as found:
        read_layout("vhap", tmp_path, flame_head())
    assert hint in str(found.value.hint)


def test_a_folder_around_the_set_is_seen_through(tmp_path: Path) -> None:
    write_vhap(tmp_path / "around" / "set", truth(shapes=300, codes=100))
    for layout in ("auto", "vhap"):
        with pytest.raises(UserError) as found:
            read_layout(layout, tmp_path / "around", flame_head())
        assert "The folder set inside it looks like vhap" in str(found.value.hint)


# ---------------------------------------------------------------- names that lead elsewhere

NAMES = [
    "../out",
    "/out",
    "a/b",
    "a\\b",
    "..",
    ".",
    "",
    "C:out",
    "nul",
    "a\0b",
    "\x1b[31m",
    "x" * 300,
    " a",
    "a.",
]


@pytest.fixture
def valuable(tmp_path: Path) -> Path:
    """A folder of the user's, beside the set."""
    (tmp_path / "Documents").mkdir()
    (tmp_path / "Documents" / "letter.txt").write_text("dear")
    return tmp_path / "Documents"


def assert_untouched(valuable: Path, *expected: str) -> None:
    assert (valuable / "letter.txt").read_text() == "dear"
    assert sorted(path.name for path in valuable.parent.iterdir()) == sorted(["Documents", *expected])


def test_a_camera_that_is_a_path_deletes_nothing(tmp_path: Path, valuable: Path) -> None:
    for name in [str(valuable), "../Documents", *NAMES[:5]]:
        write_vhap(tmp_path / "set", truth(shapes=300, codes=100), (3, 8))
        retold(
            tmp_path / "set",
            lambda frame, name=name: frame.update(camera_id=name if frame["camera_id"] == "08" else "03"),
        )
        with pytest.raises(UserError, match="cannot be the name of a file"):
            import_layout("vhap", tmp_path / "set", tmp_path / "out.tracked", head=flame_head(), overwrite=True)
        shutil.rmtree(tmp_path / "set")
        assert_untouched(valuable)


@pytest.mark.parametrize("name", ["../../Documents/letter", *NAMES])
def test_an_instant_that_is_a_path_writes_nothing_outside(tmp_path: Path, valuable: Path, name: str) -> None:
    write_vhap(tmp_path / "set", truth(shapes=300, codes=100))
    retold(tmp_path / "set", lambda frame: frame.update(timestep_index=name) if frame["timestep_index"] == 1 else None)
    found = import_layout("vhap", tmp_path / "set", tmp_path / "out.tracked", head=flame_head())
    assert found.report["skipped"][0]["why"] == "its name cannot be that of a file"
    assert sorted(path.name for path in (tmp_path / "out.tracked" / "images").iterdir()) == ["00000.png", "00002.png"]
    assert_untouched(valuable, "set", "out.tracked")


def test_pictures_elsewhere_are_not_read(tmp_path: Path, valuable: Path) -> None:
    Image.new("RGBA", (128, 128), (255, 0, 0, 9)).save(valuable / "private.png")
    write_vhap(tmp_path / "set", truth(shapes=300, codes=100))
    for told in (
        str(valuable / "private.png"),
        "../Documents/private.png",
        "images/../../Documents/private.png",
        "x" * 5000,
    ):
        retold(tmp_path / "set", lambda frame, told=told: frame.update(file_path=told))
        with pytest.raises(UserError, match="its picture is missing"):
            read_layout("vhap", tmp_path / "set", flame_head())


def test_keys_and_serials_that_are_paths(tmp_path: Path) -> None:
    known = truth(body=False, neck=False, moves=False, shapes=300, codes=100, focal=6.0)
    write_gagavatar(tmp_path / "clip", known, in_lmdb=False)
    frames = pickle.loads((tmp_path / "clip" / "smoothed.pkl").read_bytes())
    frames = {
        **frames,
        "../../x": frames["clip_9"],
        "..": frames["clip_9"],
        "clip/9": frames["clip_9"],
        7: frames["clip_9"],
    }
    (tmp_path / "clip" / "smoothed.pkl").write_bytes(pickle.dumps(frames))
    reading = read_layout("gagavatar", tmp_path / "clip", flame_head())
    assert reading.sequences[0].names == ("clip_9", "clip_10", "clip_11") and len(reading.skipped) == 4
    place = write_nersemble(tmp_path, truth(shapes=300, codes=100), {"1": FRAMES})
    path = place.parent.parent / "calibration" / "camera_params.json"
    contents = json.loads(path.read_text())
    contents["world_2_cam"]["/../../x"] = contents["world_2_cam"]["1"]
    path.write_text(json.dumps(contents))
    with pytest.raises(UserError, match="cannot be the name of a file"):
        read_layout("nersemble", place, flame_head())


# ---------------------------------------------------------------- LMDB


def test_an_lmdb_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb", reason="the extra eval is not installed")
    random = np.random.default_rng(0)
    for count, largest in ((0, 0), (1, 1), (4, 60_000), (3000, 200), (200, 9000)):
        folder = tmp_path / f"{count}"
        sizes = random.integers(0, largest + 1, count)
        written = {f"key {k:05d}".encode(): random.bytes(int(size)) for k, size in enumerate(sizes)}
        with lmdb.open(str(folder), map_size=1 << 26) as database:
            for part in (0, 1):  # what is written anew leaves old pages behind
                with database.begin(write=True) as writing:
                    for key, value in list(written.items())[:: 1 + 6 * part]:
                        written[key] = value[part:]
                        writing.put(key, value[part:])
        opened = open_lmdb(folder)
        assert list(opened.items()) == sorted(written.items())
        for key in list(written)[::50]:
            assert opened.get(key) == written[key]
        assert opened.get(b"key") is None and opened.get(b"z") is None


def test_a_cut_or_changed_lmdb_is_refused_and_ends_nothing(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb", reason="the extra eval is not installed")
    random = np.random.default_rng(0)
    with lmdb.open(str(tmp_path), map_size=1 << 22) as database, database.begin(write=True) as writing:
        for key in range(40):
            writing.put(f"{key}".encode(), random.bytes(3000 * (key % 3)))
    path = tmp_path / "data.mdb"
    whole = path.read_bytes()
    for length in (0, 100, 4096, 5000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            list(open_lmdb(tmp_path).items())
    for _ in range(300):
        content = bytearray(whole)
        for at in random.integers(len(whole), size=3):
            content[at // 4096 * 4096 + at % 200] = random.integers(256)
        path.write_bytes(bytes(content))
        try:
            list(open_lmdb(tmp_path).items())
        except UserError:
            continue


@needs_links
def test_a_pipe_among_pictures_is_not_waited_for(tmp_path: Path) -> None:
    write_vhap(tmp_path, truth(shapes=300, codes=100))
    (tmp_path / "images" / "00001_08.png").unlink()
    os.mkfifo(tmp_path / "images" / "00001_08.png")
    reading = read_layout("vhap", tmp_path, flame_head())
    assert reading.sequences[0].names == ("00000", "00002")
