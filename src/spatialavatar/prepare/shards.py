"""Tracked folders packed into tar files as WebDataset reads them: one sample a clip, files grouped by their key.

A sample's files are KEY.sequence.json, KEY.motion.safetensors, and for every frame KEY.FRAME.image.png (or .jpg) and
KEY.FRAME.matte.png. Keys hold no dot. A shard is written whole or not at all, and the same clips give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any, cast

from spatialavatar.errors import UserError
from spatialavatar.files import check_file_name, is_file_name, new_folder_atomically, write_atomically, write_json
from spatialavatar.input_files import check_regular_file, read_json
from spatialavatar.sequence.folder import MOTION_FILE, SEQUENCE_FILE, prepare_folder, read_sequence
from spatialavatar.sequence.sequence import FolderFrames, TrackedSequence
from spatialavatar.text import printable

INDEX = "shards.json"
_VERSION = 2
SHARD_BYTES = 500_000_000
_SHARD_NAME = re.compile(r"[0-9]{5,9}\.tar")


def write_shards(folders: Sequence[Path], output: Path, *, shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """Pack tracked folders; shards that hold the same already are left as they are.

    Args:
        folders: In the order of the samples; their names become keys.
        output: The folder for 00000.tar ... and shards.json. Shards of an earlier packing that have no place in this
            one are removed.
        shard_bytes: A shard is closed when it has so many.

    Raises:
        UserError: A folder is no whole tracked folder, or two have one key.
    """
    output.mkdir(parents=True, exist_ok=True)
    keys = unique_keys([folder.stem for folder in folders], output)
    groups: list[list[tuple[str, Path]]] = []
    filled = shard_bytes
    for key, folder in zip(keys, folders, strict=True):
        if filled >= shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append((key, folder))
        filled += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    before = _index(output)
    shards, index = [], {}
    for number, group in enumerate(groups):
        path = output / f"{number:05d}.tar"
        contents = {"samples": [key for key, _ in group], "contents": _digest(group)}
        known = before.get(path.name)
        if not (
            known is not None
            and {**contents, "bytes": known.get("bytes")} == known
            and path.exists()
            and path.stat().st_size == known["bytes"]
        ):
            with (
                write_atomically(path) as temporary,
                tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive,
            ):
                for key, folder in group:
                    for name, data in _members(folder):
                        _add(archive, f"{key}.{name}", data)
        shards.append(path)
        index[path.name] = {**contents, "bytes": path.stat().st_size}
    for name in before.keys() - index.keys():
        (output / name).unlink(missing_ok=True)
    write_json(output / INDEX, {"format": "spatialavatar.shards", "format_version": _VERSION, "shards": index})
    return shards


def unique_keys(names: Sequence[str], where: Path) -> list[str]:
    """Names of clips as keys of samples, which hold no dot.

    Raises:
        UserError: Two have one key.
    """
    keys = [name.replace(".", "_") for name in names]
    twice = next((key for key, count in Counter(keys).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"two clips have the key {twice!r}.", where=where, hint="Rename one: a dot counts as _.")
    return keys


def read_shard(path: Path, output: Path) -> list[TrackedSequence]:
    """Unpack a shard into tracked folders inside `output`.

    Raises:
        UserError: A folder of a sample's name is there already; or the shard is cut off or damaged: every sample before
            the damage has been unpacked by then, and the message names the first that is not whole.
    """
    found: list[TrackedSequence] = []
    output.mkdir(parents=True, exist_ok=True)
    for key, files in groupby(_files(path), lambda file: file[0]):
        place = output / f"{key}.tracked"
        with new_folder_atomically(place) as temporary:
            prepare_folder(temporary)
            for _, name, data in files:
                target = _place(temporary, name, path)
                if target.exists():
                    raise UserError(f"the sample {key!r} holds {printable(name, 100)!r} twice.", where=path)
                target.write_bytes(data)
            if not (temporary / SEQUENCE_FILE).exists() or not (temporary / MOTION_FILE).exists():
                raise UserError(f"the sample {key!r} is not whole.", where=path, hint="Pack or copy the shard again.")
            try:
                sequence = read_sequence(temporary)
            except UserError as error:
                raise UserError(f"the sample {key!r} cannot be used: {error.what}", where=path) from None
            frames = FolderFrames(temporary)
            lacking = [
                name
                for name in sequence.names
                if not frames.image_path(name).exists() or not frames.matte_path(name).exists()
            ]
            if lacking:
                raise UserError(f"the sample {key!r} lacks the frame {lacking[0]}.", where=path)
        found.append(replace(sequence, folder=place, frames=FolderFrames(place)))
    return found


def check_shards(folder: Path) -> list[str]:
    """What is wrong with a folder of shards: missing or cut-off files, and samples that are not there."""
    problems = []
    for name, told in _index(folder, must=True).items():
        keys = told["samples"]
        if not (folder / name).exists():
            problems.append(f"{name} is missing")
            continue
        try:
            found = {key for key, _, _ in _files(folder / name)}
        except UserError as error:
            problems.append(f"{name}: {error.what}")
            continue
        problems += [f"{name}: the sample {key!r} is missing" for key in keys if key not in found]
    return problems


def _index(folder: Path, must: bool = False) -> dict[str, dict[str, Any]]:
    """What shards.json says; nothing where it is of another version or is not there, unless it `must` be."""
    path = folder / INDEX
    if not must and not path.exists():
        return {}
    found = read_json(path, strict=True)
    shards = found.get("shards") if isinstance(found, dict) and found.get("format_version") == _VERSION else None
    if isinstance(shards, dict) and all(
        _SHARD_NAME.fullmatch(name) and isinstance(told, dict) and _is_listed(told) for name, told in shards.items()
    ):
        return shards
    if must:
        raise UserError("this is no list of shards of this version.", where=path, hint="Pack the clips again.")
    return {}


def _is_listed(told: dict[str, Any]) -> bool:
    samples = told.get("samples")
    return isinstance(samples, list) and all(isinstance(key, str) for key in samples) and "bytes" in told


def _digest(group: Sequence[tuple[str, Path]]) -> str:
    """Differs when what would be packed does: by tables' bytes and by names and sizes of pictures."""
    digest = hashlib.sha256()
    for key, folder in group:
        digest.update(f"{key}\0".encode())
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        for name in (SEQUENCE_FILE, MOTION_FILE):
            digest.update((folder / name).read_bytes() if (folder / name).exists() else b"")
    return digest.hexdigest()[:16]


def _members(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names (after the key) and contents of a folder's files, in a fixed order."""
    sequence = read_sequence(folder)
    yield "sequence.json", (folder / SEQUENCE_FILE).read_bytes()
    yield "motion.safetensors", (folder / MOTION_FILE).read_bytes()
    frames = FolderFrames(folder)
    for name in sequence.names:
        image, matte = frames.image_path(name), frames.matte_path(name)
        try:
            yield f"{name}.image{image.suffix}", image.read_bytes()
            yield f"{name}.matte.png", matte.read_bytes()
        except FileNotFoundError as error:
            raise UserError("this file is missing.", where=str(error.filename)) from None


def _place(folder: Path, name: str, shard: Path) -> Path:
    """Where a member goes; frames' own names may hold dots."""
    if name in (SEQUENCE_FILE, MOTION_FILE):
        return folder / name
    frame, kind, suffix = ([""] * 3 + name.rsplit(".", 2))[-3:]
    if not is_file_name(frame) or (kind, suffix) not in (("image", "png"), ("image", "jpg"), ("matte", "png")):
        raise UserError(f"a shard must not hold {printable(name, 100)!r}.", where=shard)
    return folder / f"{kind}s" / f"{frame}.{suffix}"


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


class _Within(io.RawIOBase):
    """A file that is never asked for more bytes than it has: room for what a tar's headers announce is not reserved."""

    def __init__(self, path: Path):
        self.size = check_regular_file(path)
        self.file = path.open("rb")

    def read(self, size: int = -1) -> bytes:
        left = max(self.size - self.file.tell(), 0)
        return self.file.read(left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def close(self) -> None:
        self.file.close()
        super().close()


def _files(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Keys, names and contents of a shard's files, in its order."""
    key: str | None = None
    try:
        with _Within(path) as file, tarfile.open(fileobj=cast("IO[bytes]", file), mode="r:") as archive:
            for member in archive:
                own, _, name = member.name.partition(".")
                check_file_name(own, path, "the key of a sample")
                if not member.isreg() or member.issparse():
                    # A sparse file of some bytes unpacks to as many as it says.
                    raise UserError(
                        f"a shard must not hold {printable(member.name, 100)!r}: no plain file.", where=path
                    )
                if member.offset_data + member.size > file.size:
                    raise tarfile.ReadError("unexpected end of data")
                key = own
                stream = archive.extractfile(member)
                yield own, name, b"" if stream is None else stream.read()
    except UserError:
        raise
    except Exception as error:
        # Damaged headers fail anywhere in the standard library's reader.
        raise UserError(
            f"this shard is cut off or damaged after the sample {key!r} ({error}).",
            where=path,
            hint="Pack or copy it again.",
        ) from None
