"""MediaPipe's landmarks on a real face, by the models that come with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spatialavatar.errors import UserError
from spatialavatar.track.faces import (
    LANDMARKER_VARIABLE,
    FaceMeshFinder,
    MediaPipeDetector,
    open_finder,
)
from spatialavatar.track.follow import find_in_photo
from tests.track.media import astronaut


def test_the_astronaut_has_478_landmarks_where_her_face_is() -> None:
    finder = FaceMeshFinder(still=True)
    face = finder.find(astronaut(), fresh=True)
    finder.close()
    assert face is not None and face.points.shape == (478, 3)
    x, y = face.box.centre
    assert 200 < x < 250 and 80 < y < 150  # Looked up in the picture.
    assert 30 < face.inter_ocular < 60
    assert abs(face.yaw) < 0.6
    assert face.points[468, 0] < face.points[473, 0]  # Her right iris is on the picture's left.


def test_a_small_face_is_found_in_an_enlarged_window() -> None:
    canvas = np.full((1024, 1024, 3), 128, np.uint8)
    canvas[400:656, 300:556] = astronaut()[::2, ::2]
    finder, detector = FaceMeshFinder(still=True), MediaPipeDetector()
    face, tally = find_in_photo(canvas, finder, detector)
    finder.close()
    detector.close()
    assert face is not None and tally.several == 1
    x, y = face.box.centre
    assert abs(x - (300 + 112)) < 10 and abs(y - (400 + 57)) < 12


def test_the_environment_chooses_the_newer_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LANDMARKER_VARIABLE, str(tmp_path / "none.task"))
    with pytest.raises(UserError, match="does not exist") as caught:
        open_finder(still=True)
    assert LANDMARKER_VARIABLE in str(caught.value)
    (tmp_path / "none.task").write_bytes(b"no model")
    with pytest.raises(UserError, match="not a face landmarker model"):
        open_finder(still=True)
