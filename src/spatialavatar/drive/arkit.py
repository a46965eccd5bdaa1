"""ARKit blendshape tables: Live Link Face's CSV, and the same as npz (docs/driving.md).

Conventions: weights are in 0..1 and named as ARKit names them, left and right being the subject's. Angles are radians
about the axes of ARKit's face anchor, which are our head frame's: yaw about y (positive turns to the subject's left),
pitch about x (positive looks down), roll about z (positive leans to the subject's right shoulder).
"""

from __future__ import annotations

import csv
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle

# Gaze at full weight of the eyeLook shapes, where a table has no eye angles: the range of a comfortable glance.
LARGEST_YAW = math.radians(30.0)
LARGEST_PITCH = math.radians(25.0)

_DEFAULT_RATE = 30.0
HEAD_ANGLES = ("headYaw", "headPitch", "headRoll")
EYE_ANGLES = (("leftEyeYaw", "leftEyePitch"), ("rightEyeYaw", "rightEyePitch"))
_NAMES_BY_LOWER = {
    name.lower(): name
    for name in (*ARKIT_NAMES, *HEAD_ANGLES, *(name for pair in EYE_ANGLES for name in pair), "timecode")
}


def read_arkit_csv(path: str | os.PathLike[str], frame_rate: float | None = None) -> Recording:
    """Read a table with one row per frame and ARKit's names as columns, as Live Link Face writes it.

    Columns may be in any order and any of them missing (zero); others are ignored. A row without values, as the app
    writes when it loses the face, repeats the row before.

    Args:
        path: The CSV file; commas, semicolons or tabs.
        frame_rate: Frames per second; None reads it off the timecodes, or takes 30.

    Raises:
        UserError: Which row and column is wrong.
    """
    rows = _rows(Path(path))
    titles = [_NAMES_BY_LOWER.get(title.strip().lower(), "") for title in rows[0]]
    if not any(title in ARKIT_NAMES for title in titles):
        raise UserError(
            "no column has the name of an ARKit blendshape, such as jawOpen.",
            where=path,
            hint="Export the take from Live Link Face as CSV, or see docs/driving.md.",
        )
    numeric = [(index, title) for index, title in enumerate(titles) if title and title != "timecode"]
    columns: dict[str, list[float]] = {title: [] for _, title in numeric}
    timecodes: list[str] = []
    for number, row in enumerate(rows[1:], start=2):
        cells = [(title, row[index].strip() if index < len(row) else "") for index, title in numeric]
        lost = all(not cell for _, cell in cells)
        for title, cell in cells:
            held = columns[title][-1] if columns[title] else 0.0
            columns[title].append(held if lost else _number(cell, path, number, title))
        if "timecode" in titles and titles.index("timecode") < len(row):
            timecodes.append(row[titles.index("timecode")])
    values = {title: np.asarray(column, np.float32) for title, column in columns.items()}
    return arkit_recording(values, frame_rate or _rate_of_timecodes(timecodes), Path(path).name)


def read_arkit_npz(path: str | os.PathLike[str], frame_rate: float | None = None) -> Recording:
    """Read the same as npz: `weights` (T, 52) in ARKit's order or with `names`, `head_angles` (T, 3: yaw, pitch,
    roll), `eye_angles` (T, 4: left yaw, pitch, right yaw, pitch), `frame_rate`; all but `weights` may be missing.

    Raises:
        UserError: Which key is wrong.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise UserError("there is no such file.", where=path) from None
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"this is not a readable npz file of plain arrays ({error}).", where=path) from None
    names = tuple(str(name) for name in content["names"]) if "names" in content else ARKIT_NAMES
    weights = _array(content, "weights", len(names), path)
    if weights is None:
        raise UserError("the key 'weights' is missing; expected (frames, 52) numbers.", where=path)
    values = {_NAMES_BY_LOWER.get(n.lower(), n): weights[:, i] for i, n in enumerate(names)}
    for key, titles in (("head_angles", HEAD_ANGLES), ("eye_angles", EYE_ANGLES[0] + EYE_ANGLES[1])):
        angles = _array(content, key, len(titles), path)
        if angles is not None:
            if len(angles) != len(weights):
                raise UserError(f"the key '{key}' has {len(angles)} frames and 'weights' {len(weights)}.", where=path)
            values |= {title: angles[:, index] for index, title in enumerate(titles)}
    rate = frame_rate or (float(content["frame_rate"]) if "frame_rate" in content else _DEFAULT_RATE)
    return arkit_recording(values, rate, Path(path).name)


def gaze_of_weights(weights: Mapping[str, Tensor]) -> Tensor:
    """(T, 6) axis-angle rotation of both eyes that fits ARKit's eyeLook weights (T,) each; missing ones are zero."""

    def weight(name: str) -> Tensor:
        return weights.get(name, zero)

    zero = torch.zeros_like(next(iter(weights.values())))
    eyes = []
    for side, to_left in (("Left", ("Out", "In")), ("Right", ("In", "Out"))):
        pitch = weight(f"eyeLookDown{side}") - weight(f"eyeLookUp{side}")
        yaw = weight(f"eyeLook{to_left[0]}{side}") - weight(f"eyeLook{to_left[1]}{side}")
        eyes.append(_rotation(yaw * LARGEST_YAW, pitch * LARGEST_PITCH, zero))
    return torch.cat(eyes, -1)


def arkit_recording(values: Mapping[str, NDArray[np.float32]], frame_rate: float, source: str) -> Recording:
    """A recording of columns (T,) by name: weights, and `headYaw` ... `rightEyePitch` in radians, where there are any.

    Weights are clamped to 0..1 and missing ones zero; without eye angles the eyes follow the eyeLook weights.
    """
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for name, value in values.items()}
    length = len(next(iter(tensors.values())))
    zero = torch.zeros(length)
    expression = torch.stack([tensors.get(name, zero).clamp(0, 1) for name in ARKIT_NAMES], -1)
    if all(yaw in tensors and pitch in tensors for yaw, pitch in EYE_ANGLES):
        eyes = torch.cat([_rotation(tensors[yaw], tensors[pitch], zero) for yaw, pitch in EYE_ANGLES], -1)
    else:
        eyes = gaze_of_weights({name: expression[:, index] for index, name in enumerate(ARKIT_NAMES)})
    motion = replace(
        Motion.neutral(length, len(ARKIT_NAMES)),
        expression=expression,
        # The app knows the head only; the body stays and the neck does all the turning.
        neck_rotation=_rotation(*(tensors.get(name, zero) for name in HEAD_ANGLES)),
        eyes_rotation=eyes,
    )
    return Recording(motion, ARKIT_NAMES, frame_rate, None, Motion.neutral(1, len(ARKIT_NAMES)), source)


def yaw_pitch_roll(rotations: Tensor) -> Tensor:
    """(T, 3) angles of rotation matrices (T, 3, 3): a turn about y, then x, then z, each about the turned axes."""
    # R = Ry(yaw) Rx(pitch) Rz(roll): its third column is (sin y cos p, -sin p, cos y cos p).
    pitch = torch.asin((-rotations[:, 1, 2]).clamp(-1, 1))
    yaw = torch.atan2(rotations[:, 0, 2], rotations[:, 2, 2])
    roll = torch.atan2(rotations[:, 1, 0], rotations[:, 1, 1])
    return torch.stack([yaw, pitch, roll], -1)


def _rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """(T, 3) axis-angle of a turn by yaw, then pitch, then roll, each about the axes the turn before has moved."""
    zero = torch.zeros_like(yaw)
    turn = rotation_matrix_from_axis_angle(torch.stack([zero, yaw, zero], -1))
    nod = rotation_matrix_from_axis_angle(torch.stack([pitch, zero, zero], -1))
    lean = rotation_matrix_from_axis_angle(torch.stack([zero, zero, roll], -1))
    return axis_angle_from_rotation_matrix(turn @ nod @ lean)


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError("there is no such file.", where=path) from None
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"this is not a readable text file ({error}).", where=path) from None
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise UserError("this table has no rows of values.", where=path)
    return rows


def _number(cell: str, path: str | os.PathLike[str], row: int, column: str) -> float:
    try:
        value = float(cell) if cell else 0.0
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"row {row}, column {column}: '{cell}' is not a number.", where=path)
    return value


def _array(
    content: Mapping[str, NDArray[np.generic]], key: str, width: int, path: str | os.PathLike[str]
) -> NDArray[np.float32] | None:
    if key not in content:
        return None
    value = content[key]
    if value.ndim != 2 or value.shape[1] != width or len(value) == 0 or value.dtype.kind not in "fiu":
        raise UserError(
            f"the key '{key}' is {value.dtype} {value.shape}; expected numbers (frames, {width}).", where=path
        )
    if not np.isfinite(value.astype(np.float64)).all():
        raise UserError(f"the key '{key}' holds values that are NaN or infinite.", where=path)
    return value.astype(np.float32)


def _rate_of_timecodes(timecodes: list[str]) -> float:
    """Live Link Face writes hours:minutes:seconds:frames.subframes: the largest frame number tells the rate."""
    codes = [parts for parts in (code.split(":") for code in timecodes) if _is_timecode(parts)]
    if len({parts[2] for parts in codes}) < 2:
        # Within one second the frame number need not have reached its largest value.
        return _DEFAULT_RATE
    numbers = [int(float(parts[3])) for parts in codes]
    return next((rate for rate in (24.0, 25.0, 30.0, 50.0, 60.0) if max(numbers) < rate), 60.0)


def _is_timecode(parts: list[str]) -> bool:
    return len(parts) == 4 and parts[3].strip().replace(".", "", 1).isdigit()
