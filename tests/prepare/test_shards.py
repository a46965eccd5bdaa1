"""Shards: what is packed comes out again, and what is cut off is named."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from spatialavatar.errors import UserError
from spatialavatar.prepare.shards import INDEX, check_shards, read_shard, write_shards
from spatialavatar.sequence.folder import read_sequence, write_sequence
from tests.limited import refused_within
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


def packed(path: Path, members: list[tuple[str, bytes]], **extra: object) -> Path:
    """A tar of these members; `extra` are attributes of the last one's header."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for number, (name, data) in enumerate(members, 1):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if number == len(members):
                for key, value in extra.items():
                    setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    return path


def whole(folder: Path, key: str) -> list[tuple[str, bytes]]:
    return [
        (f"{key}.sequence.json", (folder / "sequence.json").read_bytes()),
        (f"{key}.motion.safetensors", (folder / "motion.safetensors").read_bytes()),
        *((f"{key}.{p.stem}.image.png", p.read_bytes()) for p in (folder / "images").iterdir()),
        *((f"{key}.{p.stem}.matte.png", p.read_bytes()) for p in (folder / "mattes").iterdir()),
    ]


@pytest.mark.parametrize(
    "name",
    ["/etc/x.sequence.json", "../up.sequence.json", "a/b.sequence.json", ".sequence.json", "a.../../x.image.png",
     "a./abs.image.png", "a.x.image.exe", "a.x.other.png", "a.note", "a", "a.\x1b[2J.image.png"],
)  # fmt: skip
def test_a_member_that_leads_elsewhere_is_refused_and_nothing_is_left(
    folders: list[Path], tmp_path: Path, name: str
) -> None:
    (tmp_path / "up.tracked").mkdir()
    shard = packed(tmp_path / "0.tar", [*whole(folders[0], "a"), (name, b"{}")])
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(UserError) as found:
        read_shard(shard, tmp_path / "out")
    assert "\x1b" not in str(found.value)
    after = sorted(path for path in tmp_path.rglob("*") if "out" not in path.relative_to(tmp_path).parts)
    assert after == before
    # A sample before it is whole; the one that it belongs to is not there at all.
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"a.tracked"}


def test_a_folder_that_is_there_is_not_replaced(folders: list[Path], tmp_path: Path) -> None:
    (shard,) = write_shards(folders[:1], tmp_path / "shards")
    (tmp_path / "out" / "a.tracked").mkdir(parents=True)
    (tmp_path / "out" / "a.tracked" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="exists already"):
        read_shard(shard, tmp_path / "out")
    assert (tmp_path / "out" / "a.tracked" / "letter.txt").read_text() == "dear"
    twice = [*whole(folders[0], "k"), *whole(folders[1], "m"), *whole(folders[2], "k")]
    with pytest.raises(UserError, match="exists already"):
        read_shard(packed(tmp_path / "0.tar", twice), tmp_path / "back")
    assert read_sequence(tmp_path / "back" / "k.tracked").source == {"clip": "a"}


def test_links_devices_and_sparse_files_are_refused(folders: list[Path], tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        shard = packed(tmp_path / "0.tar", [*whole(folders[0], "a"), ("a.x.image.png", b"")], type=kind)
        with pytest.raises(UserError, match="no plain file"):
            read_shard(shard, tmp_path / "out")
    # Ten kilobytes that say that they are four gigabytes of holes.
    sparse = tarfile.TarInfo("a.sequence.json")
    sparse.size, sparse.type = 512, tarfile.GNUTYPE_SPARSE
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[386:482] = b"%011o\0%011o\0" % (0, 512) + b"\0" * 72
    header[483:495] = b"%011o\0" % (4 << 30)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "1.tar").write_bytes(bytes(header) + bytes(512) + bytes(8192))
    assert "no plain file" in refused_within(200, lambda: read_shard(tmp_path / "1.tar", tmp_path / "out"))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_member_longer_than_the_shard_takes_no_memory(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("a.sequence.json")
    member.size, member.type = 8 << 30, kind
    (tmp_path / "0.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    assert "cut off or damaged" in refused_within(200, lambda: read_shard(tmp_path / "0.tar", tmp_path / "out"))


def test_the_list_of_shards_removes_and_reads_shards_only(folders: list[Path], tmp_path: Path) -> None:
    write_shards(folders, tmp_path / "shards")
    (tmp_path / "shards" / "letter.txt").write_text("dear")
    index = json.loads((tmp_path / "shards" / INDEX).read_text())
    for name in ("letter.txt", "../a.tracked", str(tmp_path / "a.tracked"), "", "."):
        index["shards"][name] = {"samples": [], "bytes": 0, "contents": ""}
        (tmp_path / "shards" / INDEX).write_text(json.dumps(index))
        with pytest.raises(UserError, match="no list of shards"):
            check_shards(tmp_path / "shards")
        write_shards(folders, tmp_path / "shards")
        assert (tmp_path / "shards" / "letter.txt").read_text() == "dear" and check_shards(tmp_path / "shards") == []
        index = json.loads((tmp_path / "shards" / INDEX).read_text())
