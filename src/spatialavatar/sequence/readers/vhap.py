"""VHAP's export, as GaussianAvatars uses it (and LAM for motion): FLAME 2023 with teeth, any number of cameras.

SUBJECT/
    transforms.json (or transforms_train.json, _val, _test)   a camera a frame, camera to world, y up and z back
    images/TTTTT_CC.png   fg_masks/TTTTT_CC.png   flame_param/TTTTT.npz
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.input_files import read_json
from spatialavatar.sequence.readers.base import (
    FramePaths,
    FrameTable,
    Reading,
    flame_needed,
    numbers,
    opencv_from_opengl,
    pinhole,
    together,
)
from spatialavatar.sequence.sequence import TrackedSequence

NAME = "vhap"
_FILES = ("transforms.json", "transforms_train.json", "transforms_val.json", "transforms_test.json")
_SAME_PERSON = 1e-3
Parameters = dict[str, NDArray[np.float64]]


def recognises(folder: Path) -> bool:
    """Whether this is such a subject."""
    return (folder / "flame_param").is_dir() and any((folder / name).is_file() for name in _FILES)


def read(folder: Path, head: Head | None) -> Reading:
    """Read one subject: a sequence a camera, all with the same instants.

    Raises:
        UserError: The head is not given, a JSON is damaged, no frame can be used, or the frames show several people.
    """
    head = flame_needed(head, folder, "FLAME 2023")
    known: dict[str, Parameters | str] = {}
    tables: dict[str, FrameTable] = {}
    shapes: dict[str, NDArray[np.float64]] = {}
    offsets = False
    for frame in _frames(folder):
        camera, instant = _camera(frame), _instant(frame)
        table = tables.setdefault(camera, FrameTable(head))
        if instant in table.rows:
            continue  # The splits repeat what transforms.json has.
        path = folder / str(frame.get("flame_param_path") or f"flame_param/{instant}.npz")
        parameters = known.setdefault(str(path), _parameters(path))
        if isinstance(parameters, str):
            table.skip(f"{camera}/{instant}", parameters)
            continue
        offsets = offsets or bool(np.abs(parameters.get("static_offset", np.zeros(1))).max() > 0)
        mask = frame.get("fg_mask_path")
        matte = folder / str(mask) if mask else None
        files = FramePaths(folder / str(frame.get("file_path")), matte)
        table.add(instant, files, **_values(frame, parameters))
        if instant in table.rows:
            shapes[instant] = parameters["shape"]
    cameras = sorted(tables)
    together([tables[camera] for camera in cameras], cameras)
    skipped = tuple(item for camera in cameras for item in tables[camera].skipped)
    sequences = [_sequence(tables[camera], _one_identity(shapes, folder), camera, folder) for camera in cameras]
    warnings = []
    if offsets:
        warnings.append("static_offset, which VHAP adds to the vertices, is not carried over: the mesh is FLAME's own.")
    return Reading(NAME, tuple(cameras), tuple(sequences), skipped, tuple(warnings))


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


def _camera(frame: dict[str, Any]) -> str:
    value = frame.get("camera_id", frame.get("camera_index", 0))
    return f"{value:02d}" if isinstance(value, int) else str(value)


def _instant(frame: dict[str, Any]) -> str:
    value = frame.get("timestep_index", frame.get("timestep_id", 0))
    return f"{int(value):05d}" if str(value).isdigit() else str(value)


def _parameters(path: Path) -> Parameters | str:
    """The arrays of one instant, or why they cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: np.asarray(file[key], np.float64) for key in file.files}
    except FileNotFoundError:
        return "its flame_param file is missing"
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        return "its flame_param file cannot be read"


def _values(frame: dict[str, Any], parameters: Parameters) -> dict[str, NDArray[np.float64]]:
    pose = numbers(frame.get("transform_matrix"), 16).reshape(4, 4)
    k = [numbers(frame.get(key), 1)[0] for key in ("fl_x", "fl_y", "cx", "cy")]
    if not np.isfinite(k[0]):
        # Exports of other tools give the angle of view and look at the middle.
        width, height = numbers(frame.get("w"), 1)[0], numbers(frame.get("h"), 1)[0]
        focal = 0.5 * width / np.tan(0.5 * numbers(frame.get("camera_angle_x"), 1)[0])
        k = [focal, focal, width / 2, height / 2]
    usable = bool(np.isfinite(pose).all()) and abs(np.linalg.det(pose)) > 1e-9
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
        if other.shape != shape.shape or float(np.abs(other - shape).max()) > _SAME_PERSON:
            raise UserError(
                f"the frames {first} and {instant} have different identities: two subjects, or two trackings, lie in "
                "one folder.",
                where=folder / "flame_param",
                hint="Extract each subject into a folder of its own.",
            )
    return shape.reshape(-1)
