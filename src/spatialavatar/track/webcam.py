"""A webcam as a live driver: what the face in it does, frame by frame, in the terms of docs/live.md.

Weights come from a `face_landmarker.task` model that the user gives; head angles from the landmarks' own depth, which
follows the head but tilts with the shape of the face: `neutral` takes the tilt out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.drive.live_protocol import Frame
from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.errors import UserError
from spatialavatar.track.faces import Face, LandmarkFinder

_RIGHT_CHEEK, _LEFT_CHEEK, _CHIN, _FOREHEAD = 234, 454, 152, 10


def head_angles(points: NDArray[np.float32]) -> tuple[float, float, float]:
    """Yaw, pitch and roll in radians of a face.

    Args:
        points: (478, 3) landmarks in pixels: x right, y down, z to the back.
    """
    # To the head's frame: x to the subject's left (right in the picture), y up, z to the camera.
    placed = points.astype(np.float64) * [1.0, -1.0, -1.0]
    x = placed[_LEFT_CHEEK] - placed[_RIGHT_CHEEK]
    x /= np.linalg.norm(x) + 1e-9
    y = placed[_FOREHEAD] - placed[_CHIN]
    y -= x * (x @ y)
    y /= np.linalg.norm(y) + 1e-9
    z = np.cross(x, y)
    # Columns x, y, z are turn(yaw about y) nod(pitch about x) lean(roll about z).
    return math.atan2(z[0], z[2]), math.asin(float(np.clip(-z[1], -1, 1))), math.atan2(x[1], y[1])


def frame_of_face(face: Face) -> Frame:
    """What a face does.

    Raises:
        ValueError: It comes from a model without blendshapes.
    """
    if face.blendshapes is None:
        raise ValueError("this face has no blendshapes")
    weights = tuple(min(1.0, max(0.0, face.blendshapes.get(name, 0.0))) for name in ARKIT_NAMES)
    return Frame(weights, head_angles(face.points))


def webcam_frames(camera: int | str, finder: LandmarkFinder) -> Iterator[Frame | None]:
    """What the face before a camera does, None for each picture without a face, until the camera ends.

    Args:
        camera: The system's number of the camera; or a video file.
        finder: Must give blendshapes.

    Raises:
        UserError: There is no such camera, or it gives no picture.
    """
    import cv2

    source = _open(cv2, camera)
    try:
        # The newest picture, where the driver lets us choose: older ones are late.
        source.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        first = True
        while True:
            there, picture = source.read()
            if not there:
                if first:
                    raise _no_camera(camera)
                return
            face = finder.find(np.ascontiguousarray(picture[..., ::-1]), fresh=first)
            first = False
            yield None if face is None else frame_of_face(face)
    finally:
        source.release()


def _open(cv2: Any, camera: int | str) -> Any:
    # We say ourselves that there is no camera; OpenCV would print a line for each way it tried.
    log = getattr(cv2.utils, "logging", cv2)  # Up to OpenCV 4.12 these two functions lie at the top.
    level = log.getLogLevel()
    log.setLogLevel(0)
    try:
        source = cv2.VideoCapture(camera)
    finally:
        log.setLogLevel(level)
    if not source.isOpened():
        source.release()
        raise _no_camera(camera)
    return source


def _no_camera(camera: int | str) -> UserError:
    place = (
        "Look into the system's settings for privacy." if sys.platform == "darwin" else "Is another program using it?"
    )
    return UserError("this camera gives no picture.", where=f"camera {camera}", hint=f"{place} Choose with --camera.")
