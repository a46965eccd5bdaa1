"""safetensors files that somebody else may have written: bounded, checked against themselves, and read as copies."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spatialavatar.errors import UserError
from spatialavatar.tensor_file import LONGEST_HEADER, open_tensors, read_tensors, write_tensors

TENSORS = {
    "floats": torch.randn(3, 4),
    "doubles": torch.randn(2, dtype=torch.float64),
    "halves": torch.randn(5).half(),
    "brain": torch.randn(5).bfloat16(),
    "numbers": torch.arange(-3, 3),
    "shorts": torch.arange(4, dtype=torch.int16),
    "bytes": torch.arange(7, dtype=torch.uint8),
    "flags": torch.tensor([True, False, True]),
    "one": torch.tensor(3.5),
    "none": torch.zeros(0, 3),
}


def test_every_kind_comes_back_as_the_library_wrote_it(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors", {"note": "x"})
    file = open_tensors(tmp_path / "a.safetensors")
    found = read_tensors(file)
    assert file.metadata == {"note": "x"} and found.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
    assert read_tensors(file, ["one"]).keys() == {"one"}


def test_what_is_written_is_read_by_the_library_and_by_everybody(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", TENSORS, {"note": "x"})
    found = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())
    if os.name == "posix":
        (tmp_path / "plain").write_bytes(b"")
        assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tensors_survive_the_end_of_their_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    big = torch.randn(1 << 18)
    save_file({"big": big}, path)
    found = read_tensors(open_tensors(path))["big"]
    # In place, as a copy onto the file or a full disk does it: a mapping would end the process or turn to zeros.
    with path.open("r+b") as file:
        file.write(b"\0" * 1000)
        file.truncate(1000)
    assert torch.equal(found, big)


def forged(path: Path, header: Any, body: bytes = b"\0" * 64) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def entry(dtype: Any = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "header",
    [
        entry(shape=[5]),
        entry(shape=[-4]),
        entry(shape=[4.0]),
        entry(shape=[True, 4]),
        entry(shape=4),
        entry(shape=["4"]),
        entry(shape=[1] * 9, offsets=[0, 4]),
        entry(shape=[10**400]),
        entry(shape=[1 << 62, 1 << 62, 0], offsets=[0, 0]),
        entry(dtype=7),
        entry(offsets=[0]),
        entry(offsets=[]),
        entry(offsets=[16, 0]),
        entry(offsets=[0, 16, 32]),
        entry(offsets=[100, 116]),
        entry(offsets=None),
        {"a": None},
        {"a": []},
        {"__metadata__": {"format": 7}},
        {"__metadata__": []},
        {**entry(shape=[16], offsets=[0, 64]), "b": entry()["a"]},
        [],
        "text",
        b"[" * 5000,
        b"{" + b" " * 10,
        b'{"a": NaN}',
        b"\xff\xfe{}",
    ],
    ids=str,
)
def test_a_forged_header_is_refused(tmp_path: Path, header: Any) -> None:
    path = forged(tmp_path / "a.safetensors", header)
    with pytest.raises(UserError) as found:
        read_tensors(open_tensors(path))
    assert str(path) in str(found.value)


def test_a_header_that_is_longer_than_any_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write((LONGEST_HEADER + 1).to_bytes(8, "little") + b"{")
        file.truncate(LONGEST_HEADER + 100)
    with pytest.raises(UserError, match="no safetensors file"):
        open_tensors(path)


def test_a_kind_that_is_not_known_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    path = forged(tmp_path / "a.safetensors", entry(dtype="F8_E4M3"))
    with pytest.raises(UserError, match="'a' is of the kind F8_E4M3, which is not read"):
        read_tensors(open_tensors(path))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.avatar")
    with pytest.raises(UserError, match="not a regular file"):
        open_tensors(tmp_path / "a.avatar")
