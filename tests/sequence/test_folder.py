"""The tracked folder: round trip, and what it says when it is broken."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from spatialavatar.errors import UserError
from spatialavatar.sequence.folder import folder_problems, is_tracked_folder, read_sequence, write_sequence
from tests.sequence.ball import ball_sequence


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sequence(ball_sequence(), tmp_path / "a.tracked", report={"frames": 4})
    return tmp_path / "a.tracked"


def test_round_trip(folder: Path) -> None:
    truth, read = ball_sequence(), read_sequence(folder)
    assert is_tracked_folder(folder) and not is_tracked_folder(folder.parent)
    for name in ("head_edition", "width", "height", "frame_rate", "names", "kind", "source", "expression_names"):
        assert getattr(read, name) == getattr(truth, name)
    assert read.folder == folder and len(read) == 4
    for name in ("expression", "global_rotation", "translation", "neck_translation", "eyes_rotation"):
        assert torch.equal(getattr(read.motion, name), getattr(truth.motion, name))
    assert torch.equal(read.identity, truth.identity)
    assert torch.equal(read.intrinsics, truth.intrinsics)
    assert torch.equal(read.camera_from_world, truth.camera_from_world)
    assert read.landmarks is not None and bool(read.landmarks.isnan().all())
    assert read.is_valid.tolist() == [True, True, True, False]
    for k in range(4):
        assert torch.equal(read.image(k), truth.image(k)) and read.image(k).dtype == torch.uint8
        assert torch.equal(read.matte(k), truth.matte(k))
        assert read.camera(k).width == 64
    assert json.loads((folder / "report.json").read_text()) == {"frames": 4}
    assert folder_problems(folder) == []


def test_select_keeps_order_and_pixels(folder: Path) -> None:
    read = read_sequence(folder)
    some = read.select([2, 0])
    assert some.names == ("00002", "00000")
    assert torch.equal(some.motion.translation, read.motion.translation[[2, 0]])
    assert torch.equal(some.image(0), read.image(2))
    assert read.select(slice(1, None, 2)).names == ("00001", "00003")
    assert read.select(torch.tensor([3])).is_valid.tolist() == [False]


def test_where_the_source_ends_is_kept(tmp_path: Path) -> None:
    assert read_sequence(write_sequence(ball_sequence(), tmp_path / "all.tracked").folder or "").source_boxes is None
    cut, whole, beside, narrow = [-3.0, 10.4, 70.0, 60.5], [0.0, 0.0, 64.0, 64.0], [64.0, -9, 99, -1], [5.0, 0.1, 6, 64]
    boxes = torch.tensor([cut, whole, beside, narrow])
    write_sequence(replace(ball_sequence(), source_boxes=boxes), tmp_path / "part.tracked")
    read = read_sequence(tmp_path / "part.tracked")
    assert read.source_boxes is not None and torch.equal(read.source_boxes, boxes)
    # Whole pixels inside, less a fortieth of the picture's 50 rows, rounded up.
    assert read.filmed(0) == (0, 64, 13, 58) and read.filmed(1) == (0, 64, 0, 64)
    for index in (2, 3):  # nothing, or less than a pixel, is an empty box and no error
        x0, x1, y0, y1 = read.filmed(index)
        assert x0 == x1 or y0 == y1
    assert read.select([1, 0]).filmed(1) == (0, 64, 13, 58)


def test_an_existing_folder_is_kept_unless_told(folder: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        write_sequence(ball_sequence(), folder)
    write_sequence(ball_sequence(frames=2), folder, overwrite=True)
    assert len(read_sequence(folder)) == 2
    assert not (folder / "images" / "00003.png").exists()


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def images():
        yield np.zeros((64, 64, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sequence(ball_sequence(), tmp_path / "a.tracked", images())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_message_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="no disk space"):
        write_sequence(ball_sequence(), tmp_path / "a.tracked")
    assert list(tmp_path.iterdir()) == []


def edit_header(key: str, value: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        header = json.loads((folder / "sequence.json").read_text())
        header.pop(key)
        if value is not None:
            header[key] = value
        (folder / "sequence.json").write_text(json.dumps(header))

    return edit


def edit_tensor(key: str, value: torch.Tensor | None) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "motion.safetensors")
        tensors.pop(key)
        if value is not None:
            tensors[key] = value
        save_file(tensors, folder / "motion.safetensors")

    return edit


def not_finite() -> torch.Tensor:
    value = torch.zeros(4, 3)
    value[2] = float("nan")
    return value


@pytest.mark.parametrize(
    ("breakage", "file", "words"),
    [
        (lambda f: (f / "sequence.json").unlink(), "sequence.json", ["missing"]),
        (lambda f: (f / "sequence.json").write_text("{"), "sequence.json", ["not valid JSON"]),
        (edit_header("format", "other"), "sequence.json", ['"format"']),
        (edit_header("format_version", 99), "sequence.json", ["99", "reads 1"]),
        (edit_header("kind", None), "sequence.json", ['"kind" is missing']),
        (edit_header("width", "wide"), "sequence.json", ['"width"', "'wide'"]),
        (edit_header("names", ["a", "a", "b", "c"]), "sequence.json", ['"names"', "none twice"]),
        (edit_header("valid", [True]), "sequence.json", ['"valid"', "4"]),
        (lambda f: (f / "motion.safetensors").unlink(), "motion.safetensors", ["missing"]),
        (lambda f: (f / "motion.safetensors").write_bytes(b"12345678abc"), "motion.safetensors", ["safetensors"]),
        (edit_tensor("intrinsics", None), "motion.safetensors", ['"intrinsics" is missing', "(4, 3, 3)"]),
        (edit_tensor("intrinsics", torch.eye(3)), "motion.safetensors", ['"intrinsics"', "(4, 3, 3)", "(3, 3)"]),
        (edit_tensor("expression", torch.zeros(5, 2)), "motion.safetensors", ['"expression"', "(4, *)", "(5, 2)"]),
        (edit_tensor("translation", not_finite()), "motion.safetensors", ['"translation"', "index 2"]),
        (edit_tensor("translation", torch.zeros(4, 3).double()), "motion.safetensors", ["float32", "float64"]),
        (edit_tensor("landmarks", torch.zeros(4, 68, 2)), "motion.safetensors", ["(4, 478, 2)", "(4, 68, 2)"]),
        (lambda f: (f / "mattes/00001.png").unlink(), "mattes/00001.png", ["missing"]),
        (lambda f: (f / "images/00001.png").write_bytes(b"x"), "images/00001.png", ["cannot be read"]),
        (lambda f: Image.new("RGB", (9, 7)).save(f / "images/00002.png"), "images/00002.png", ["9 x 7", "64 x 64"]),
        (lambda f: Image.new("RGB", (64, 64)).save(f / "mattes/00002.png"), "mattes/00002.png", ["RGB", "L"]),
    ],
)
def test_a_broken_folder_names_file_key_and_shape(
    folder: Path, breakage: Callable[[Path], None], file: str, words: list[str]
) -> None:
    breakage(folder)
    problems = folder_problems(folder)
    assert len(problems) == 1
    assert problems[0].where == folder / file
    for word in words:
        assert word in problems[0].what
    if file.endswith(".png"):
        read_sequence(folder)  # Frames are read when asked for.
    else:
        with pytest.raises(UserError) as caught:
            read_sequence(folder)
        assert str(folder / file) in str(caught.value)


def test_every_problem_is_reported_at_once(folder: Path) -> None:
    edit_tensor("translation", torch.zeros(4, 2))(folder)
    edit_tensor("intrinsics", None)(folder)
    (folder / "images/00000.png").unlink()
    assert len(folder_problems(folder)) == 3


def test_a_lost_or_resized_frame_is_a_clear_message(folder: Path) -> None:
    (folder / "images/00000.png").unlink()
    Image.new("RGB", (9, 7)).save(folder / "images/00001.png")
    sequence = read_sequence(folder)
    with pytest.raises(UserError, match=r"00000\.png.*missing"):
        sequence.image(0)
    with pytest.raises(UserError, match="9 x 7, expected 64 x 64"):
        sequence.image(1)


def test_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tracked folder was expected"):
        read_sequence(tmp_path / "none")


def with_header(folder: Path, **changes: object) -> None:
    file = folder / "sequence.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    "name", ["../../up", "/etc/passwd", "a/b", "a\\b", "..", "", "C:x", "con", "a\0", "x" * 300, "\x1b[2J"]
)
def test_a_name_that_leads_elsewhere_is_refused(folder: Path, name: str) -> None:
    with_header(folder, names=[name, "b", "c", "d"])
    with pytest.raises(UserError, match=r'key "names" has .* which cannot be the name of a file') as found:
        read_sequence(folder)
    assert "\x1b" not in str(found.value) and "\0" not in str(found.value)
    # No other way to a sequence with such a name: what writes pictures by it need not ask.
    with pytest.raises(UserError, match="cannot be the name of a file"):
        replace(ball_sequence(), names=(name, "b", "c", "d"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_rate": float("nan")}, "not valid JSON"),
        ({"frame_rate": float("inf")}, "not valid JSON"),
        ({"frame_rate": 1e9}, '"frame_rate" must be a number up to 10000'),
        ({"frame_rate": True}, '"frame_rate" must be'),
        ({"frame_rate": 10**400}, "not valid JSON"),
        ({"width": True}, '"width" must be 1 to 32768'),
        ({"height": 10**9}, '"height" must be 1 to 32768'),
        ({"names": [["a"], "b", "c", "d"]}, '"names" must be'),
        ({"names": {"a": 1}}, '"names" must be'),
        ({"valid": [1, 2, 3, 4]}, '"valid" must be'),
        ({"valid": [[], [], [], []]}, '"valid" must be'),
        ({"valid": 7}, '"valid" must be'),
        ({"expression_names": 7}, '"expression_names" must be a list of texts'),
        ({"expression_names": [None]}, '"expression_names" must be a list of texts'),
        ({"source": []}, '"source" must be an object'),
        ({"kind": []}, '"kind" must be'),
        ({"format_version": "\x1b[2J" * 50}, r"\\x1b"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    with_header(folder, **changes)
    with pytest.raises(UserError, match=message):
        read_sequence(folder)


def test_infinite_landmarks_are_refused_and_lost_ones_are_not(folder: Path) -> None:
    file = folder / "motion.safetensors"
    tensors = load_file(file)
    tensors["landmarks"] = torch.zeros(4, 478, 2)
    tensors["landmarks"][1] = torch.nan
    save_file(tensors, file)
    assert read_sequence(folder).landmarks is not None
    tensors["landmarks"][2, 0, 0] = torch.inf
    save_file(tensors, file)
    with pytest.raises(UserError, match=r'"landmarks" holds .* \(first at index 2\)'):
        read_sequence(folder)


@pytest.mark.skipif(os.name != "posix", reason="Windows has other rights")
def test_everybody_may_read_what_everybody_could_before(folder: Path) -> None:
    modes = {file.name: file.stat().st_mode for file in folder.iterdir() if file.is_file()}
    (folder / "plain").write_bytes(b"")
    assert set(modes.values()) == {(folder / "plain").stat().st_mode}, modes


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_far_larger_than_any_frame_is_not_unpacked(folder: Path) -> None:
    picture = folder / "images" / f"{read_sequence(folder).names[0]}.png"
    header = struct.pack(">IIBBBBB", 60_000, 2_900, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    picture.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    with pytest.raises(UserError, match="too large"):
        read_sequence(folder).image(0)
