"""Live driving, frame by frame: a driver's weights and angles in, the avatar's motion out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.framing import head_rotation
from spatialavatar.drive.arkit import arkit_recording, yaw_pitch_roll
from spatialavatar.drive.arkit_names import EYE_ANGLES, HEAD_ANGLES
from spatialavatar.drive.live_protocol import Frame
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.drive.retarget import retarget, translate_expressions
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle

_EYES = tuple(name for pair in EYE_ANGLES for name in pair)


class LivePuppet:
    """Turns a driver's frames into an avatar's motion, relative to the driver's neutral face where one is given.

    avatar: Who is driven.
    neutral: The driver's neutral frame; may be set at any time.
    """

    def __init__(self, avatar: Avatar) -> None:
        self.avatar = avatar
        self.neutral: Frame | None = None

    def motion(self, frame: Frame) -> Motion:
        """One frame for `avatar.pose`.

        Raises:
            UserError: The avatar's head has none of ARKit's expressions, and the frame moves some.
        """
        with torch.no_grad():
            if self.neutral is None:
                return retarget(_recording([frame]), self.avatar)
            pair = _recording([_resting(self.neutral), beyond(frame, self.neutral)])
            return retarget(pair, self.avatar, relative=True)[1]


def beyond(frame: Frame, neutral: Frame) -> Frame:
    """The frame with the driver's neutral face taken out of its weights.

    A weight w over a neutral n becomes (w - n) / (1 - n), not below zero: nothing at rest, and still all of it at 1, so
    that lids that hang a little by nature close as far as they can.
    """
    weights = tuple(
        max(0.0, weight - rest) / (1.0 - rest) if rest < 0.95 else 0.0
        for weight, rest in zip(frame.weights, neutral.weights, strict=True)
    )
    return replace(frame, weights=weights, eyes=frame.eyes if neutral.eyes is not None else None)


def frames_of_recording(recording: Recording) -> Iterator[Frame]:
    """A recording as the frames that an app would send: ARKit's weights, head against the line of sight, eyes.

    Raises:
        UserError: None of its expressions has a name of ARKit's.
    """
    motion = recording.motion
    weights = translate_expressions(recording, ARKIT_NAMES, "").clamp(0, 1).tolist()
    head = yaw_pitch_roll(recording.sight.mT @ head_rotation(motion)).tolist()
    sides = [yaw_pitch_roll(rotation_matrix_from_axis_angle(part)) for part in motion.eyes_rotation.split(3, -1)]
    eyes = torch.cat([side[:, :2] for side in sides], -1).tolist()
    for index in range(len(motion)):
        yield Frame(tuple(weights[index]), tuple(head[index]), tuple(eyes[index]), index)


def _resting(neutral: Frame) -> Frame:
    """The neutral frame as itself sees it: weights at zero, head and eyes where they were."""
    return replace(neutral, weights=(0.0,) * len(ARKIT_NAMES))


def _recording(frames: list[Frame]) -> Recording:
    """Frames, all with eye angles or all without, as a recording."""
    table = {name: [frame.weights[index] for frame in frames] for index, name in enumerate(ARKIT_NAMES)}
    table |= {name: [frame.head[index] for frame in frames] for index, name in enumerate(HEAD_ANGLES)}
    if all(frame.eyes is not None for frame in frames):
        table |= {name: [(frame.eyes or ())[index] for frame in frames] for index, name in enumerate(_EYES)}
    return arkit_recording({name: np.array(column, np.float32) for name, column in table.items()}, 30.0, "live")
