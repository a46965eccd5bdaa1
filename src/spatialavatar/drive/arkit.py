"""Columns of ARKit's blendshapes and angles as a recording.

Conventions: weights are in 0..1 and named as ARKit names them, left and right being the subject's. Angles are radians
about the axes of ARKit's face anchor, which are our head frame's: yaw about y (positive turns to the subject's left),
pitch about x (positive looks down), roll about z (positive leans to the subject's right shoulder).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.drive.arkit_names import EYE_ANGLES, HEAD_ANGLES
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.drive.time_line import TimeLine, in_equal_steps
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle

# Gaze at full weight of the eyeLook shapes, where a table has no eye angles: the range of a comfortable glance.
LARGEST_YAW = math.radians(30.0)
LARGEST_PITCH = math.radians(25.0)

# How closely eye angles must follow the eyeLook weights to be called the same, or mirrored; and how far the gaze must
# wander (radians, one standard deviation) for that to tell. In the app's own takes they agree to 0.999.
_SAME_GAZE = 0.9
_WANDERS = 0.01


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


def arkit_recording(
    values: Mapping[str, NDArray[np.floating[Any]]],
    frame_rate: float,
    source: str,
    *,
    line: TimeLine | None = None,
    notes: Sequence[str] = (),
) -> Recording:
    """A recording of columns (T,) by name: weights in 0..1, and `headYaw` ... `rightEyePitch` in radians.

    Missing ones are zero; without eye angles the eyes follow the eyeLook weights.

    Args:
        values: As `plausible.plausible_columns` gives them.
        frame_rate: Frames per second.
        source: Where it came from.
        line: How rows become frames; without it, each row is one.
        notes: What was found in reading.
    """
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for name, value in values.items()}
    length = len(next(iter(tensors.values())))
    zero = torch.zeros(length)
    expression = torch.stack([tensors.get(name, zero) for name in ARKIT_NAMES], -1)
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
    if line is not None:
        motion = in_equal_steps(motion, line)
    rest = Motion.neutral(1, len(ARKIT_NAMES))
    return Recording(motion, ARKIT_NAMES, frame_rate, None, rest, source, notes=tuple(notes))


def unmirrored_eyes(values: dict[str, NDArray[np.float64]]) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """The columns with eye angles that agree with the eyeLook weights.

    Live Link Face writes the eyes' angles mirrored against its weights: the left eye's under the right one's name,
    and yaw with the other sign. Where both are there, the weights tell, and the lids follow them.

    Returns:
        The columns, and a note where the angles were mirrored.
    """
    names = [name for pair in EYE_ANGLES for name in pair]
    if not all(name in values for name in names):
        return values, []
    zero = np.zeros_like(values[names[0]])
    signs = {"Left": (1, -1), "Right": (-1, 1)}
    looks = {
        side: out * values.get(f"eyeLookOut{side}", zero) + inward * values.get(f"eyeLookIn{side}", zero)
        for side, (out, inward) in signs.items()
    }
    looked = np.concatenate([looks["Left"], looks["Right"]])
    straight = np.concatenate([values["leftEyeYaw"], values["rightEyeYaw"]])
    mirrored = -np.concatenate([values["rightEyeYaw"], values["leftEyeYaw"]])
    if min(np.std(looked) * LARGEST_YAW, np.std(straight)) < _WANDERS:
        return values, []
    agrees, opposes = (float(np.corrcoef(looked, yaws)[0, 1]) for yaws in (straight, mirrored))
    if agrees > -_SAME_GAZE or opposes < _SAME_GAZE:
        return values, []
    swapped = {
        "leftEyeYaw": -values["rightEyeYaw"],
        "rightEyeYaw": -values["leftEyeYaw"],
        "leftEyePitch": values["rightEyePitch"],
        "rightEyePitch": values["leftEyePitch"],
    }
    return values | swapped, ["its eye angles are mirrored against its eyeLook weights and were turned to agree."]


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
