"""What iFacialMocap and Facemotion3d stream, kept as text: one frame per line.

    mouthSmile_R-0|eyeLookOut_L-12|...|=head#-21.5,-6.0,-6.6,-0.03,-0.10,-0.66|rightEye#6.0,2.4,0.3|leftEye#6.0,-1.7,-0.2|

Weights are percent, after "-" or "&". Angles are degrees about x, y and z; the head's place follows and is left out.
A line may begin with a time stamp and a space, comma, semicolon or tab, as loggers put one there.
"""

from __future__ import annotations

import array
import os
import re
from pathlib import Path

import numpy as np

from spatialavatar.drive.arkit import arkit_recording
from spatialavatar.drive.arkit_names import ANGLES, arkit_name
from spatialavatar.drive.arkit_npz import finite
from spatialavatar.drive.plausible import plausible_columns
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.drive.time_line import MOST_FRAMES, time_line
from spatialavatar.errors import UserError
from spatialavatar.text import printable

_STREAMED_RATE = 60.0
"""Frames per second that both apps stream at, where lines have no time stamps."""
_TCP_END = "___iFacialMocap"
_NUMBER = r"[+-]?(?:\d{1,15}\.?\d{0,20}|\.\d{1,20})(?:[eE][+-]?\d{1,2})?"
_WEIGHT = re.compile(rf"(\w{{2,60}})[&-]({_NUMBER})")
_POSE = re.compile(rf"=?(head|leftEye|rightEye)#({_NUMBER}(?:,{_NUMBER})*)")
_LINE = re.compile(r"(?:(?P<stamp>[\d:;.T-]{1,40}Z?)[ ,;\t]+)?(?P<frame>[A-Za-z]\w+[&-].*\|.*)")
_ANGLES_OF = {
    "head": ("headPitch", "headYaw", "headRoll"),
    "leftEye": ("leftEyePitch", "leftEyeYaw", None),
    "rightEye": ("rightEyePitch", "rightEyeYaw", None),
}


def is_ifacialmocap(text: str) -> bool:
    """Whether the first line of a text is a frame of that kind."""
    match = _LINE.fullmatch(text.lstrip()[:20_000].partition("\n")[0].strip())
    return match is not None and "#" in match["frame"] and _WEIGHT.match(match["frame"]) is not None


def recording_of_ifacialmocap(
    text: str, path: str | os.PathLike[str], frame_rate: float | None, notes: list[str] | None = None
) -> Recording:
    """A recording of such lines.

    Args:
        text: The file's content.
        path: The file.
        frame_rate: Frames per second, whatever the time stamps say.
        notes: What was found in reading it.

    Raises:
        UserError: Which line is wrong.
    """
    said = list(notes or [])
    names = (*ARKIT_NAMES, *ANGLES)
    columns = {name: array.array("d") for name in names}
    found: set[str] = set()
    stamps: list[str] = []
    lines: list[int] = []
    numbered = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(numbered) > MOST_FRAMES:
        raise UserError(f"this file has more than {MOST_FRAMES:,} frames.", where=path)
    held = dict.fromkeys(names, 0.0)
    closed = [line.removesuffix(_TCP_END).endswith("|") for _, line in numbered]
    for (number, line), ends in zip(numbered, closed, strict=True):
        # A line that does not end as the first one does was cut, even where it ends with a value.
        frame = _frame(line, path, number) if ends >= closed[0] else None
        if frame is None:
            if number == numbered[-1][0] and lines:
                said.append(f"its last line (line {number}) is cut short and was left out.")
                break
            raise UserError(f"line {number}: '{printable(line, 40)}' is no frame of iFacialMocap.", where=path)
        stamp, values = frame
        found |= values.keys()
        held |= values
        for name, column in columns.items():
            column.append(held[name])
        stamps.append(stamp)
        lines.append(number)
    if not found & set(ARKIT_NAMES):
        raise UserError("no value has the name of an ARKit blendshape, such as jawOpen.", where=path)
    read = {name: np.frombuffer(columns[name], np.float64) for name in names if name in found}
    # The format's own units: nothing is to be guessed. Angles are the same a whole turn further.
    scaled = {
        name: finite(value, name, path) * 0.01
        if name in ARKIT_NAMES
        else np.deg2rad(np.remainder(finite(value, name, path) + 180.0, 360.0) - 180.0)
        for name, value in read.items()
    }
    chosen, more = plausible_columns(scaled, path, lambda row: f"line {lines[row]}")
    cells = stamps if all(stamps) else None
    if cells is None and frame_rate is None:
        frame_rate = _STREAMED_RATE
        said.append("it has no time stamps; 60 frames/s were assumed, as the app sends them.")
    line_of_time = time_line(cells, None, len(lines), frame_rate, path)
    return arkit_recording(
        chosen, line_of_time.frame_rate, Path(path).name, line=line_of_time, notes=(*said, *more, *line_of_time.notes)
    )


def _frame(line: str, path: str | os.PathLike[str], number: int) -> tuple[str, dict[str, float]] | None:
    """The time stamp and the values of a line; None where it is none, or does not end where a value does."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    body = match["frame"].removesuffix(_TCP_END)
    values: dict[str, float] = {}
    for part in body.rstrip("|").split("|"):
        pose = _POSE.fullmatch(part)
        if pose is not None:
            angles = [float(text) for text in pose[2].split(",")]
            if len(angles) < 3:
                return None
            given = {name: angle for name, angle in zip(_ANGLES_OF[pose[1]], angles, strict=False) if name is not None}
        else:
            weight = _WEIGHT.fullmatch(part)
            if weight is None:
                return None
            name = arkit_name(weight[1])
            given = {name: float(weight[2])} if name in ARKIT_NAMES else {}
        repeated = given.keys() & values.keys()
        if repeated:
            raise UserError(f"line {number} gives {repeated.pop()} twice.", where=path)
        values |= given
    return match["stamp"] or "", values
