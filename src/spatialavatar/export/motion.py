"""Motion for other programs: ARKit tables as Live Link Face writes them, the same as npz, and FLAME's npz."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.avatar.framing import head_rotation
from spatialavatar.drive.arkit import yaw_pitch_roll
from spatialavatar.drive.flame_npz import KEYS
from spatialavatar.drive.motion_file import SUFFIX, write_motion
from spatialavatar.drive.plausible import ROUNDING
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle

FLAME_SUFFIX = ".flame.npz"
SUFFIXES = (SUFFIX, ".csv", FLAME_SUFFIX, ".npz")
LIVE_LINK_FACE_TITLES = (
    *("Timecode", "BlendShapeCount"),
    *("EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft", "EyeLookUpLeft", "EyeSquintLeft"),
    *("EyeWideLeft", "EyeBlinkRight", "EyeLookDownRight", "EyeLookInRight", "EyeLookOutRight", "EyeLookUpRight"),
    *("EyeSquintRight", "EyeWideRight", "JawForward", "JawRight", "JawLeft", "JawOpen", "MouthClose", "MouthFunnel"),
    *("MouthPucker", "MouthRight", "MouthLeft", "MouthSmileLeft", "MouthSmileRight", "MouthFrownLeft"),
    *("MouthFrownRight", "MouthDimpleLeft", "MouthDimpleRight", "MouthStretchLeft", "MouthStretchRight"),
    *("MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper", "MouthPressLeft", "MouthPressRight"),
    *("MouthLowerDownLeft", "MouthLowerDownRight", "MouthUpperUpLeft", "MouthUpperUpRight", "BrowDownLeft"),
    *("BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight", "CheekPuff", "CheekSquintLeft"),
    *("CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut"),
    *("HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll"),
    *("RightEyeYaw", "RightEyePitch", "RightEyeRoll"),
)
"""The header of Live Link Face's own CSV: the right of jaw and mouth comes before the left, unlike in ARKit's order."""
_CLOCK = 60
"""Frames in a second of the app's time code, whatever rate it records; rows in between get a fraction of a frame."""
_ANGLES = (
    *("headYaw", "headPitch", "headRoll", "leftEyeYaw", "leftEyePitch", "leftEyeRoll"),
    *("rightEyeYaw", "rightEyePitch", "rightEyeRoll"),
)
"""The columns after the weights of `_arkit_values`."""


def write_recording(recording: Recording, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Write a recording in the format that the file's name asks for, one of `SUFFIXES`, whole or not at all.

    Returns:
        What the format could not carry, a sentence each; what docs/exports.md says of it anyway is left out.

    Raises:
        UserError: The name asks for none of them, the format cannot hold these expressions, or it cannot be written.
    """
    name = Path(path).name
    if name.endswith(SUFFIX):
        write_motion(recording, path)
        return ()
    if name.endswith(FLAME_SUFFIX):
        write_flame_npz(recording, path)
        return ()
    if name.endswith(".npz"):
        return write_arkit_npz(recording, path)
    if name.endswith(".csv"):
        return write_arkit_csv(recording, path)
    raise UserError(f"a motion's name ends in {', '.join(SUFFIXES)}.", where=path)


def write_arkit_csv(recording: Recording, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Live Link Face's table: timecode, count, 52 weights, angles of head and eyes in radians, ten decimals each.

    Body and place are not part of it: the head's orientation against the line of sight is.
    """
    values, notes = _arkit_values(recording, path)
    place = {name: index for index, name in enumerate((*ARKIT_NAMES, *_ANGLES))}
    order = [place[title[0].lower() + title[1:]] for title in LIVE_LINK_FACE_TITLES[2:]]
    lines = [",".join(LIVE_LINK_FACE_TITLES)]
    for index, row in enumerate(values[:, order].tolist()):
        # Adding zero turns -0.0 into 0.0.
        cells = (f"{round(value, 10) + 0.0:.10f}" for value in row)
        lines.append(",".join([time_code(index / recording.frame_rate), str(len(row)), *cells]))
    with write_atomically(path) as temporary:
        temporary.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return notes


def time_code(seconds: float) -> str:
    """HH:MM:SS:FF.mmm as the app writes it: frames of its 60 a second, and thousandths of a frame."""
    frames, thousandths = divmod(round(seconds * _CLOCK * 1000), 1000)
    whole, frame = divmod(frames, _CLOCK)
    return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{frame:02d}.{thousandths:03d}"


def write_arkit_npz(recording: Recording, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The same as arrays: `weights` (T, 52), `names`, `head_angles` (T, 3), `eye_angles` (T, 4), `frame_rate`."""
    values, notes = _arkit_values(recording, path)
    count = len(ARKIT_NAMES)
    _save(
        path,
        weights=values[:, :count],
        names=np.array(ARKIT_NAMES),
        head_angles=values[:, count : count + 3],
        eye_angles=values[:, [count + 3, count + 4, count + 6, count + 7]],
        frame_rate=np.float64(recording.frame_rate),
    )
    return notes


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
        frame_rate=np.float64(recording.frame_rate),
        sight=recording.sight.numpy(),
    )


def _arkit_values(recording: Recording, path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """(T, 61) weights in ARKit's order, then `_ANGLES`; and what was clamped."""
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
            weights[:, index] = motion.expression[:, column[name]]
    beyond = int(((weights < -ROUNDING) | (weights > 1 + ROUNDING)).sum())
    notes = (f"{beyond:,} of its {weights.numel():,} weights lie outside 0 to 1 and were clamped.",) if beyond else ()
    head = yaw_pitch_roll(recording.sight.mT @ head_rotation(motion))
    eyes = [yaw_pitch_roll(rotation_matrix_from_axis_angle(part)) for part in motion.eyes_rotation.split(3, -1)]
    return torch.cat([weights.clamp(0, 1), head, *eyes], -1).numpy().astype(np.float32), notes


def _save(path: str | os.PathLike[str], **arrays: NDArray[np.generic] | np.float64) -> None:
    with write_atomically(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
