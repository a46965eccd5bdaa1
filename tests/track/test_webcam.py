"""A webcam as a driver, without a webcam: pictures from a file, faces from a table."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.errors import UserError
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.sequence.video import write_video
from spatialavatar.track.faces import Face
from spatialavatar.track.webcam import frame_of_face, head_angles, webcam_frames


def turned_points(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Landmarks of a flat face that was turned: turn, nod, lean, as docs/driving.md has them."""
    points = np.zeros((478, 3))
    points[234], points[454], points[152], points[10] = (-70, 0, -10), (70, 0, -10), (0, -90, 0), (0, 90, 0)
    turns = [rotation_matrix_from_axis_angle(torch.tensor(v)) for v in ([0, yaw, 0.0], [pitch, 0, 0.0], [0, 0, roll])]
    rotation = (turns[0] @ turns[1] @ turns[2]).numpy()
    return ((points @ rotation.T) * [1, -1, -1] + [320, 240, 0]).astype(np.float32)


@pytest.mark.parametrize(
    "angles", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, -0.4), (0.4, -0.3, 0.2)]
)
def test_angles_of_a_turned_face(angles: tuple[float, float, float]) -> None:
    assert head_angles(turned_points(*angles)) == pytest.approx(angles, abs=1e-5)


def test_weights_are_those_of_the_model() -> None:
    frame = frame_of_face(Face(turned_points(0, 0, 0), {"jawOpen": 0.5, "mouthSmileLeft": 1.2, "_neutral": 0.1}))
    weights = dict(zip(ARKIT_NAMES, frame.weights, strict=True))
    assert weights["jawOpen"] == 0.5 and weights["mouthSmileLeft"] == 1.0 and sum(frame.weights) == 1.5
    with pytest.raises(ValueError, match="no blendshapes"):
        frame_of_face(Face(turned_points(0, 0, 0)))


class Faces:
    """A finder that sees a face in every second picture."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], bool]] = []

    def find(self, image: np.ndarray, *, fresh: bool) -> Face | None:
        self.asked.append((image.shape, fresh))
        there = len(self.asked) % 2 == 1
        return Face(turned_points(0.2, 0, 0), {"jawOpen": 0.25}) if there else None

    def close(self) -> None: ...


def test_pictures_become_frames(tmp_path: Path) -> None:
    path = tmp_path / "me.mp4"
    write_video(path, [np.full((48, 64, 3), 20 * index, np.uint8) for index in range(4)], 25.0)
    faces = Faces()
    frames = list(webcam_frames(str(path), faces))
    assert [frame is not None for frame in frames] == [True, False, True, False]
    assert frames[0] is not None and math.isclose(frames[0].head[0], 0.2, abs_tol=1e-5)
    assert faces.asked[0] == ((48, 64, 3), True) and not any(fresh for _, fresh in faces.asked[1:])


def test_no_camera(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gives no picture"):
        next(webcam_frames(str(tmp_path / "none.mp4"), Faces()))
