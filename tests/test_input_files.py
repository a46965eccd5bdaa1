"""Files that somebody else may have written: bounded, and never a traceback."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spatialavatar.errors import UserError
from spatialavatar.files import check_file_name, is_file_name, path_inside
from spatialavatar.input_files import read_json, read_npz, read_text
from tests.limited import refused_within


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = {
        "plain": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "names": np.array(["a", "bc"]),
        "number": np.array(30.0),
        "empty": np.zeros((0, 3)),
    }
    np.savez_compressed(tmp_path / "a.npz", **written)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == written.keys()
    for key, value in written.items():
        assert found[key].dtype == value.dtype
        assert np.array_equal(found[key], value)
        assert found[key].flags.writeable
    assert read_npz(tmp_path / "a.npz", {"names", "other"}).keys() == {"names"}


def with_member(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def npy(header: str, body: bytes = b"") -> bytes:
    text = (header + " " * (-(len(header) + 11) % 64) + "\n").encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


HEADERS = {
    "far too large": "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627775, 8), }",
    "overflowing": "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999999999999, 8), }",
    "negative": "{'descr': '<f8', 'fortran_order': False, 'shape': (-4,), }",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "longer than the file": "{'descr': '<f8', 'fortran_order': False, 'shape': (100,), }",
    "not a literal": "{'descr': open('x'), 'fortran_order': False, 'shape': (1,), }",
    "unclosed": "{'descr': '<f8', 'fortran_order': False, 'shape': (1,",
    "nested": "(" * 5000,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_a_forged_array_is_refused(tmp_path: Path, header: str) -> None:
    path = with_member(tmp_path / "a.npz", "a.npy", npy(header, b"12345678"))
    with pytest.raises(UserError) as found:
        read_npz(path)
    assert str(path) in str(found.value)


def test_an_array_that_unpacks_to_more_than_is_allowed_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1 << 20, np.uint8))
    with pytest.raises(UserError, match="too large"):
        read_npz(tmp_path / "a.npz", max_bytes=1 << 10)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + b"\0" * 60, b"hello"])
def test_what_is_not_an_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match="not a readable npz"):
        read_npz(tmp_path / "a.npz")


def test_every_cut_and_every_changed_byte_is_read_or_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(20.0), b=np.array("name"))
    whole, random = stream.getvalue(), np.random.default_rng(0)
    path = tmp_path / "a.npz"
    for trial in range(600):
        content = bytearray(whole[: random.integers(len(whole))] if trial % 3 == 0 else whole)
        for place in random.integers(len(content), size=trial % 3) if content else ():
            content[place] = random.integers(256)
        path.write_bytes(bytes(content))
        try:
            read_npz(path)
        except UserError:
            continue


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[" * 200_000, "nested too deeply"), (b"{", "not valid JSON"), (b"\xff\xfe", "not UTF-8"), (b"", "not valid")],
)
def test_json_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_json(tmp_path / "a.json")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\ufeff{}", encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {}


def test_a_text_larger_than_the_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x" * 100)
    with pytest.raises(UserError, match="too large"):
        read_text(tmp_path / "a.csv", 99)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        read_text(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["a\0b", "\udcff\ud800", "x" * 5000, "missing", "."])
def test_a_name_that_no_file_can_have_is_a_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        read_text(tmp_path / name)


GOOD = ["08", "-7Yb_0-aS5M_1", "camera_221501007", "take 1 (best).mp4", "王小明", "a'b"]
BAD = ["", ".", "..", "../x", "/etc", "a/b", "a\\b", "C:", "a:b", "con", "LPT1.txt", "a\n", "\x1b[2J", "x" * 300]


@pytest.mark.parametrize("name", GOOD)
def test_ordinary_names_may_become_file_names(name: str) -> None:
    assert is_file_name(name)
    assert check_file_name(name, "set.json", "the key 'camera_id'") == name


@pytest.mark.parametrize("name", [*BAD, 3, None, ["a"]])
def test_names_that_lead_elsewhere_are_refused(name: object) -> None:
    with pytest.raises(UserError, match="camera_id"):
        check_file_name(name, "set.json", "the key 'camera_id'")


def test_relative_paths_stay_inside_with_either_slash(tmp_path: Path) -> None:
    assert path_inside(tmp_path, "images\\\\0.png", "t.json", "file_path") == tmp_path / "images" / "0.png"
    assert path_inside(tmp_path, "./images/0.png", "t.json", "file_path") == tmp_path / "images" / "0.png"
    (tmp_path / "link").symlink_to("/")
    for path in ("../x", "/etc/passwd", "C:\\x", "\\\\host\\x", "a/../../x", "link/etc/passwd", "", "a\0"):
        with pytest.raises(UserError, match="leads out"):
            path_inside(tmp_path, path, "t.json", "file_path")


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_room_is_not_reserved_for_what_a_small_file_cannot_hold(tmp_path: Path, packing: int) -> None:
    # 800 MB by its header, within what is allowed, in a file of some hundred bytes.
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000,), }"
    with zipfile.ZipFile(tmp_path / "a.npz", "w", packing) as archive:
        archive.writestr("a.npy", npy(header, b"12345678"))
    assert "cut short" in refused_within(200, lambda: read_npz(tmp_path / "a.npz"))
    # The same size in the archive's own list.
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (800_000_200).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(bytes(content))
    assert "does not agree" in refused_within(200, lambda: read_npz(tmp_path / "a.npz"))


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_that_reserve_what_they_are_told_are_refused(tmp_path: Path, packing: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", packing) as archive:
        archive.writestr("a.npy", npy(HEADERS["longer than the file"], bytes(800)))
    with pytest.raises(UserError, match="compressed in a way"):
        read_npz(tmp_path / "a.npz")


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    for code in (0x110000, 0xD800, 2**32 - 1):
        text = np.array([code], "<u4").view("<U1")
        np.savez(tmp_path / "a.npz", names=text)
        with pytest.raises(UserError, match="no characters"):
            read_npz(tmp_path / "a.npz")


STRICT = ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": 1' + "0" * 30 + "}", '{"a": "\\ud800"}']


@pytest.mark.parametrize("text", STRICT)
def test_our_own_json_has_no_numbers_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(tmp_path / "a.json", strict=True)
    if "ud800" not in text:
        assert "a" in read_json(tmp_path / "a.json")


def test_json_of_countless_values_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" + "[]," * (5 << 20) + "[]]")
    # Parsed, these 16 MB would take 400 MB.
    assert "too many values" in refused_within(150, lambda: read_json(tmp_path / "a.json"))
