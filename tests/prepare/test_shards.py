"""Shards: what is packed comes out again, and what is cut off is named."""

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from spatialavatar.errors import UserError
from spatialavatar.prepare.shards import INDEX, check_shards, read_shard, write_shards
from spatialavatar.sequence.folder import write_sequence
from tests.synthetic import subject


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    made = subject(2, 32, 16).sequence
    places = []
    for name in ("a", "b", "c"):
        sequence = write_sequence(replace(made, source={"clip": name}), tmp_path / f"{name}.tracked")
        assert sequence.folder is not None
        places.append(sequence.folder)
    return places


def test_clips_come_out_as_they_went_in(folders: list[Path], tmp_path: Path) -> None:
    shards = write_shards(folders, tmp_path / "shards", shard_bytes=1)
    assert [path.name for path in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    (found,) = read_shard(shards[1], tmp_path / "out")
    assert found.source == {"clip": "b"}
    for packed in (folders[1] / "images").iterdir():
        assert (tmp_path / "out" / "b.tracked" / "images" / packed.name).read_bytes() == packed.read_bytes()
    assert check_shards(tmp_path / "shards") == []
    with tarfile.open(shards[0]) as archive:
        # One key a sample, the extension after its first dot: what WebDataset groups by.
        assert {name.split(".", 1)[0] for name in archive.getnames()} == {"a"}


def test_the_same_clips_give_the_same_bytes(folders: list[Path], tmp_path: Path) -> None:
    (first,) = write_shards(folders, tmp_path / "one")
    (second,) = write_shards(folders, tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()


def test_what_is_packed_already_stays(folders: list[Path], tmp_path: Path) -> None:
    shards = write_shards(folders, tmp_path / "shards", shard_bytes=1)
    times = [path.stat().st_mtime_ns for path in shards]
    picture = next((folders[2] / "images").iterdir())
    picture.write_bytes(picture.read_bytes() + b"more")
    assert write_shards(folders, tmp_path / "shards", shard_bytes=1) == shards
    assert [path.stat().st_mtime_ns == time for path, time in zip(shards, times, strict=True)] == [True, True, False]
    shards[0].write_bytes(b"cut")
    write_shards(folders[:2], tmp_path / "shards", shard_bytes=1)
    assert check_shards(tmp_path / "shards") == [] and not shards[2].exists()


def test_a_shard_that_is_cut_off_is_named(folders: list[Path], tmp_path: Path) -> None:
    (shard,) = write_shards(folders, tmp_path / "shards")
    with tarfile.open(shard) as archive:
        middle = next(member for member in archive if member.name.startswith("b.") and "image" in member.name)
    shard.write_bytes(shard.read_bytes()[: middle.offset_data + 10])
    with pytest.raises(UserError, match="cut off or damaged after the sample 'b'"):
        read_shard(shard, tmp_path / "out")
    assert (tmp_path / "out" / "a.tracked").is_dir() and not (tmp_path / "out" / "b.tracked").exists()
    assert any("cut off" in problem for problem in check_shards(tmp_path / "shards"))
    shard.unlink()
    assert check_shards(tmp_path / "shards") == ["00000.tar is missing"]
    assert (tmp_path / "shards" / INDEX).exists()


def test_a_folder_that_is_not_whole_is_not_packed(folders: list[Path], tmp_path: Path) -> None:
    next((folders[1] / "mattes").iterdir()).unlink()
    with pytest.raises(UserError, match="this file is missing"):
        write_shards(folders, tmp_path / "shards")
    assert not list((tmp_path / "shards").glob("*.tar"))
    with pytest.raises(UserError, match="two clips have the key 'a'"):
        write_shards([folders[0], folders[0]], tmp_path / "shards")
