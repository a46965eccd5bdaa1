"""Motion for other programs: ARKit tables as Live Link Face writes them, the same as npz, and FLAME's npz."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.avatar.framing import head_rotation
from spatialavatar.drive.arkit import yaw_pitch_roll
from spatialavatar.drive.flame_npz import KEYS
from spatialavatar.drive.motion_file import SUFFIX, write_motion
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle

FLAME_SUFFIX = ".flame.npz"
SUFFIXES = (SUFFIX, ".csv", FLAME_SUFFIX, ".npz")
_ANGLES = (
    *("HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll"),
    *("RightEyeYaw", "RightEyePitch", "RightEyeRoll"),
)


def write_recording(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Write a recording in the format that the file's name asks for, one of `SUFFIXES`, whole or not at all.

    Raises:
        UserError: The name asks for none of them, the format cannot hold these expressions, or it cannot be written.
    """
    name = Path(path).name
    if name.endswith(SUFFIX):
        write_motion(recording, path)
    elif name.endswith(FLAME_SUFFIX):
        write_flame_npz(recording, path)
    elif name.endswith(".npz"):
        write_arkit_npz(recording, path)
    elif name.endswith(".csv"):
        write_arkit_csv(recording, path)
    else:
        raise UserError(f"a motion's name ends in {', '.join(SUFFIXES)}.", where=path)


def write_arkit_csv(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Live Link Face's table: timecode, count, 52 weights, angles of head and eyes in radians.

    Body and place are not part of it: the head's orientation against the line of sight is.
    """
    values = _arkit_values(recording, path)
    titles = [name[0].upper() + name[1:] for name in ARKIT_NAMES]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["Timecode", "BlendshapeCount", *titles, *_ANGLES])
    whole_rate = max(1, round(recording.frame_rate))
    for index, row in enumerate(values):
        seconds, frame = divmod(index, whole_rate)
        code = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.000"
        table.writerow([code, len(row), *(f"{value:.8g}" for value in row)])
    with write_atomically(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def write_arkit_npz(recording: Recording, path: str | os.PathLike[str]) -> None:
    """The same as arrays: `weights` (T, 52), `names`, `head_angles` (T, 3), `eye_angles` (T, 4), `frame_rate`."""
    values = _arkit_values(recording, path)
    count = len(ARKIT_NAMES)
    _save(
        path,
        weights=values[:, :count],
        names=np.array(ARKIT_NAMES),
        head_angles=values[:, count : count + 3],
        eye_angles=values[:, [count + 3, count + 4, count + 6, count + 7]],
        frame_rate=np.float32(recording.frame_rate),
    )


def write_flame_npz(recording: Recording, path: str | os.PathLike[str]) -> None:
    """All parameters under FLAME's names, with what else a recording holds; nothing is lost (`drive.flame_npz`)."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, key in KEYS.items():
        arrays[key] = getattr(recording.motion, name).numpy()
        if name != "expression":
            arrays[f"rest_{key}"] = getattr(recording.rest, name).numpy()
    _save(
        path,
        **arrays,
        expression_names=np.array(recording.expression_names),
        head_edition=np.array(recording.head_edition or ""),
        frame_rate=np.float32(recording.frame_rate),
        sight=recording.sight.numpy(),
    )


def _arkit_values(recording: Recording, path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """(T, 61) weights and angles in Live Link Face's order."""
    column = {name: index for index, name in enumerate(recording.expression_names)}
    shared = [name for name in ARKIT_NAMES if name in column]
    motion = recording.motion
    if not shared:
        raise UserError(
            f"this motion has the expressions of the head {recording.head_edition or 'unknown'}; none of them is one "
            "of ARKit's, which this table holds.",
            where=path,
            hint=f"Write it as {FLAME_SUFFIX} or {SUFFIX}.",
        )
    weights = torch.zeros(len(motion), len(ARKIT_NAMES))
    for index, name in enumerate(ARKIT_NAMES):
        if name in column:
            weights[:, index] = motion.expression[:, column[name]].clamp(0, 1)
    head = yaw_pitch_roll(recording.sight.mT @ head_rotation(motion))
    eyes = [yaw_pitch_roll(rotation_matrix_from_axis_angle(part)) for part in motion.eyes_rotation.split(3, -1)]
    return torch.cat([weights, head, *eyes], -1).numpy().astype(np.float32)


def _save(path: str | os.PathLike[str], **arrays: NDArray[np.generic] | np.float32) -> None:
    with write_atomically(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
