"""GAGAvatar_track's output: FLAME 2020 five times as large before a camera with a fixed, long lens.

CLIP/
    smoothed.pkl or optim.pkl   {KEY: {shapecode (300), expcode (100), posecode (6), eyecode (6),
                                transform_matrix (3, 4), bbox (4)}}, read without running what is in it
    img_lmdb/                   KEY -> an encoded picture, before black; or images/KEY.png (or .jpg)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.unpickle import restricted_load
from spatialavatar.input_files import read_bytes
from spatialavatar.sequence.pictures import picture_size, read_picture
from spatialavatar.sequence.readers.base import (
    IMAGE_SUFFIXES,
    FramePaths,
    FrameTable,
    Reading,
    clip_name,
    flame_needed,
    not_black,
)
from spatialavatar.sequence.readers.conventions import extrinsics, numbers, pinhole
from spatialavatar.sequence.readers.lmdb_file import open_lmdb
from spatialavatar.sequence.readers.places import SetFolder
from spatialavatar.sequence.sequence import FrameSource
from spatialavatar.text import printable

NAME = "gagavatar"
SCALE, FOCAL, SIZE = 5.0, 12.0, 512
"""FLAME's vertices are scaled; the focal length is in halves of the picture."""
_FILES = ("smoothed.pkl", "optim.pkl")
LARGEST_PICKLE = 1 << 30
"""Bytes; a frame takes 5 kB."""
# PyTorch3D's camera has x to the left and y up.
_FLIP = np.diag([-1.0, -1.0, 1.0])


def recognises(folder: Path) -> bool:
    """Whether this is such a clip."""
    return any((folder / name).is_file() for name in _FILES)


@dataclass(frozen=True)
class LmdbFrames:
    """Pictures in an LMDB by key, before black."""

    folder: Path
    keys: dict[str, str]

    def image(self, name: str) -> NDArray[np.uint8]:
        payload = open_lmdb(self.folder).get(self.keys[name].encode())
        if payload is None:
            raise UserError(f"there is no picture under the key {self.keys[name]!r}.", where=self.folder)
        return _decoded(payload, self.folder, self.keys[name])

    def matte(self, name: str) -> NDArray[np.uint8]:
        return not_black(self.image(name))


def read(folder: Path, head: Head | None) -> Reading:
    """Read one clip.

    Raises:
        UserError: The head is not given, the pickle asks to run code or is damaged, or no frame can be used.
    """
    head = flame_needed(head, folder, "FLAME 2020")
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None:
        raise UserError(f"there is neither {_FILES[0]} nor {_FILES[1]} here.", where=folder)
    contents = restricted_load(read_bytes(file, LARGEST_PICKLE), file)
    if not isinstance(contents, dict) or not contents:
        raise UserError("expected a dictionary of frames.", where=file)
    frames = {str(key): frame for key, frame in contents.items() if isinstance(key, (str, int))}
    lmdb = folder / "img_lmdb"
    sizes = _lmdb_sizes(lmdb) if lmdb.is_dir() else None
    place = SetFolder(folder)
    table = FrameTable(head, place, size=None if sizes is None else (SIZE, SIZE))
    identities = []
    key_of: dict[str, str] = {}
    for key in sorted(frames, key=_order):
        name, frame = re.sub(r"[^\w.-]", "_", key), frames[key]
        twice = name in key_of or (name != key and name in frames)
        if twice or not isinstance(frame, dict):
            table.skip(key, "its name occurs twice" if twice else "it holds no codes")
            continue
        key_of[name] = key
        values = _values(frame)
        if sizes is None:
            table.add(name, FramePaths(place.place(f"images/{key}", IMAGE_SUFFIXES)), **values)
        else:
            _add_from_lmdb(table, name, sizes.get(key), values)
        if name in table.rows:
            identities.append(numbers(frame.get("shapecode"), 300))
    identity = np.mean(identities, 0) if identities else np.zeros(1)
    if not np.isfinite(identity).all():
        raise UserError("a shapecode holds a value that is not a number.", where=file)
    sequence = table.sequence(identity, {"layout": NAME, "clip": folder.name, "scale": SCALE}, folder, dark=True)
    warnings = ["the set has no mattes: what is not black is taken for the subject."]
    if len(identities) > 1 and float(np.max(np.std(identities, 0))) > 1e-4:
        warnings.append("the frames have identities of their own; their mean is used.")
    if sizes is not None:
        source: FrameSource = LmdbFrames(lmdb, {name: key_of[name] for name in sequence.names})
        sequence = replace(sequence, frames=source)
    return Reading(NAME, (clip_name(folder),), (sequence,), tuple(table.skipped), tuple(warnings))


def _add_from_lmdb(
    table: FrameTable, name: str, size: tuple[int, int] | None, values: dict[str, NDArray[np.float64]]
) -> None:
    if size is None:
        table.skip(name, "its picture is missing")
    elif size != (SIZE, SIZE):
        table.skip(name, f"its picture is {size[0]} x {size[1]}, expected {SIZE} x {SIZE}")
    else:
        table.add_values(name, FramePaths(Path(name)), **values)


def _values(frame: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    matrix = numbers(frame.get("transform_matrix"), 12).reshape(3, 4)
    # Rows times matrix there, matrix times columns here.
    rotation, shift = _FLIP @ matrix[:, :3].T, _FLIP @ matrix[:, 3] / SCALE
    pose = numbers(frame.get("posecode"), 6)
    focal = FOCAL * SIZE / 2
    return {
        "camera_from_world": extrinsics(rotation, shift),
        "intrinsics": pinhole(focal, focal, SIZE / 2, SIZE / 2),
        "expression": numbers(frame.get("expcode")),
        "global_rotation": pose[:3],
        "jaw_rotation": pose[3:],
        "eyes_rotation": numbers(frame.get("eyecode"), 6),
    }


def _order(key: str) -> tuple[str, int]:
    """Keys end in the frame's number, written without leading zeros."""
    found = re.fullmatch(r"(.*?)([0-9]+)", key, re.DOTALL)
    return (found.group(1), int(found.group(2))) if found and len(found.group(2)) < 19 else (key, 0)


def _lmdb_sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Keys with the sizes of their pictures; pictures that cannot be read are left out."""
    found = {}
    for key, payload in open_lmdb(folder).items():
        try:
            found[key.decode()] = picture_size(bytes(payload), where=folder)
        except (UserError, UnicodeDecodeError):
            continue
    return found


def _decoded(payload: bytes, folder: Path, key: str) -> NDArray[np.uint8]:
    colours = read_picture(payload, where=folder, managed=False).colours
    if colours.shape[:2] != (SIZE, SIZE):
        raise UserError(
            f"the picture {printable(key, 60)} has {colours.shape[1]} x {colours.shape[0]} pixels; expected {SIZE}.",
            where=folder,
        )
    return colours
