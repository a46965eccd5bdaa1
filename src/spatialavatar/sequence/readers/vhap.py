"""VHAP's export, as GaussianAvatars uses it (and LAM for motion): FLAME 2023 with teeth, any number of cameras.

SUBJECT/
    transforms.json (or transforms_train.json, _val, _test)   a camera a frame, camera to world, y up and z back
    images/TTTTT_CC.png   fg_masks/TTTTT_CC.png   flame_param/TTTTT.npz
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.files import check_file_name
from spatialavatar.head.head import Head
from spatialavatar.input_files import read_json, read_npz
from spatialavatar.sequence.readers.base import (
    IMAGE_SUFFIXES,
    FramePaths,
    FrameTable,
    Reading,
    flame_needed,
    nothing_left,
    together,
)
from spatialavatar.sequence.readers.conventions import numbers, opencv_from_opengl, pinhole
from spatialavatar.sequence.readers.places import SetFolder
from spatialavatar.sequence.sequence import TrackedSequence

NAME = "vhap"
_FILES = ("transforms.json", "transforms_train.json", "transforms_val.json", "transforms_test.json")
_SAME_PERSON = 1e-3
_KEYS = ("translation", "rotation", "neck_pose", "jaw_pose", "eyes_pose", "shape", "expr", "static_offset")
_LARGEST_PARAMETERS = 64 << 20
"""Bytes of one instant's arrays; offsets of FLAME's vertices take 0.06 MB."""
Parameters = dict[str, NDArray[Any]]


def recognises(folder: Path) -> bool:
    """Whether this is such a subject."""
    return (folder / "flame_param").is_dir() and any((folder / name).is_file() for name in _FILES)


def read(folder: Path, head: Head | None) -> Reading:
    """Read one subject: a sequence a camera, all with the same instants.

    Raises:
        UserError: The head is not given, a JSON is damaged, no frame can be used, or the frames show several people.
    """
    head = flame_needed(head, folder, "FLAME 2023")
    place = SetFolder(folder)
    known: dict[Path, Parameters | str] = {}
    tables: dict[str, FrameTable] = {}
    shapes: dict[str, NDArray[np.float64]] = {}
    offsets = False
    for frame in _frames(folder):
        camera, instant = _camera(frame, folder), _instant(frame)
        table = tables.setdefault(camera, FrameTable(head, place))
        if instant in table.rows:
            continue  # The splits repeat what transforms.json has.
        path = place.place(frame.get("flame_param_path") or f"flame_param/{instant}.npz", (".npz",))
        if path not in known:
            known[path] = _parameters(path)
        parameters = known[path]
        if isinstance(parameters, str):
            table.skip(f"{camera}/{instant}", parameters, path)
            continue
        offsets = offsets or bool(np.abs(numbers(parameters.get("static_offset", 0))).max(initial=0) > 0)
        mask = frame.get("fg_mask_path")
        matte = place.place(mask, IMAGE_SUFFIXES) if mask else None
        table.add(
            instant,
            FramePaths(place.place(frame.get("file_path"), IMAGE_SUFFIXES), matte),
            **_values(frame, parameters),
        )
        if instant in table.rows:
            shapes[instant] = numbers(parameters.get("shape"))
    cameras = sorted(tables)
    together([tables[camera] for camera in cameras], cameras)
    skipped = tuple(item for camera in cameras for item in tables[camera].skipped)
    if not any(tables[camera].rows for camera in cameras):
        raise nothing_left(folder, skipped)
    sequences = [_sequence(tables[camera], _one_identity(shapes, folder), camera, folder) for camera in cameras]
    warnings = []
    if offsets:
        warnings.append("static_offset, which VHAP adds to the vertices, is not carried over: the mesh is FLAME's own.")
    unmatted = tuple(frozenset(tables[camera].unmatted) for camera in cameras)
    return Reading(NAME, tuple(cameras), tuple(sequences), skipped, tuple(warnings), unmatted)


def _sequence(table: FrameTable, identity: NDArray[np.float64], camera: str, folder: Path) -> TrackedSequence:
    table.rows = dict(sorted(table.rows.items()))
    return table.sequence(identity, {"layout": NAME, "subject": folder.name, "camera": camera}, folder)


def _frames(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in _FILES:
        if (folder / name).is_file():
            contents = read_json(folder / name)
            frames = contents.get("frames") if isinstance(contents, dict) else None
            if not isinstance(frames, list):
                raise UserError('expected a list under the key "frames".', where=folder / name)
            shared = {key: value for key, value in contents.items() if key != "frames"}
            found += [{**shared, **frame} for frame in frames if isinstance(frame, dict)]
    if not found:
        raise UserError("there is no transforms.json with frames.", where=folder, hint="Is the set extracted whole?")
    return found


def _camera(frame: dict[str, Any], folder: Path) -> str:
    value = frame.get("camera_id", frame.get("camera_index", 0))
    name = f"{value:02d}" if isinstance(value, int) else str(value)
    return check_file_name(name, folder, "the key 'camera_id'")


def _instant(frame: dict[str, Any]) -> str:
    value = frame.get("timestep_index", frame.get("timestep_id", 0))
    text = str(value)
    return f"{int(text):05d}" if text.isascii() and text.isdigit() and len(text) < 10 else text


def _parameters(path: Path) -> Parameters | str:
    """The arrays of one instant, or why they cannot be read."""
    if not os.path.exists(path):  # not Path.exists, which fails for names that are longer than any
        return "its flame_param file is missing"
    try:
        return read_npz(path, _KEYS, _LARGEST_PARAMETERS)
    except UserError:
        return "its flame_param file cannot be read"


def _values(frame: dict[str, Any], parameters: Parameters) -> dict[str, NDArray[np.float64]]:
    pose = numbers(frame.get("transform_matrix"), 16).reshape(4, 4)
    k = [numbers(frame.get(key), 1)[0] for key in ("fl_x", "fl_y", "cx", "cy")]
    if not np.isfinite(k[0]):
        # Exports of other tools give the angle of view and look at the middle.
        width, height = numbers(frame.get("w"), 1)[0], numbers(frame.get("h"), 1)[0]
        with np.errstate(all="ignore"):
            focal = 0.5 * width / np.tan(0.5 * numbers(frame.get("camera_angle_x"), 1)[0])
        k = [focal, focal, width / 2, height / 2]
    with np.errstate(all="ignore"):
        usable = bool(np.isfinite(pose).all()) and 1e-9 < abs(np.linalg.det(pose)) < math.inf
    return {
        "camera_from_world": opencv_from_opengl(pose) if usable else np.full((4, 4), np.nan),
        "intrinsics": pinhole(*k),
        "expression": numbers(parameters.get("expr")),
        "global_rotation": numbers(parameters.get("rotation"), 3),
        "neck_rotation": numbers(parameters.get("neck_pose"), 3),
        "jaw_rotation": numbers(parameters.get("jaw_pose"), 3),
        "eyes_rotation": numbers(parameters.get("eyes_pose"), 6),
        "translation": numbers(parameters.get("translation"), 3),
    }


def _one_identity(shapes: dict[str, NDArray[np.float64]], folder: Path) -> NDArray[np.float64]:
    """The identity that all instants share.

    Raises:
        UserError: They do not.
    """
    if not shapes:
        return np.zeros(1)
    (first, shape), *rest = shapes.items()
    for instant, other in rest:
        if other.shape != shape.shape or not float(np.abs(other - shape).max(initial=0)) <= _SAME_PERSON:
            raise UserError(
                f"the frames {first} and {instant} have different identities: two subjects, or two trackings, lie in "
                "one folder.",
                where=folder / "flame_param",
                hint="Extract each subject into a folder of its own.",
            )
    return shape.reshape(-1)
