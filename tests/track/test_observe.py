"""What is said about faces that cannot be tracked, or only badly."""

from __future__ import annotations

from pathlib import Path

import pytest

from spatialavatar.errors import UserError
from spatialavatar.track.follow import Tally
from spatialavatar.track.observe import face_warnings, refuse_unusable
from tests.track.test_follow import face_at

CLIP = Path("clip.mp4")


@pytest.mark.parametrize(
    ("tally", "size", "message"),
    [
        (Tally(looked=5), None, "no face is found in this video"),
        (Tally(looked=5, profiles=3), None, "only from the side"),
        (Tally(looked=5, detected=2), None, "only from the side, or is covered"),
        (Tally(looked=5), 30.0, "too small: 30 pixels"),
    ],
)
def test_one_clear_message(tally: Tally, size: float | None, message: str) -> None:
    faces = [None if size is None else face_at(100, 100, size)] * 5
    with pytest.raises(UserError, match=message) as caught:
        refuse_unusable(faces, tally, CLIP, "video")
    assert caught.value.where == "clip.mp4" and caught.value.hint


def test_a_usable_face_passes_in_silence() -> None:
    faces = [face_at(100, 100, 300)] * 5
    refuse_unusable(faces, Tally(looked=5), CLIP, "video")
    assert face_warnings(faces, Tally(looked=5), 25.0, CLIP) == []


def test_warnings() -> None:
    faces = [face_at(100, 100, 80)] * 60 + [None] * 40
    warnings = face_warnings(faces, Tally(looked=100, several=3), 25.0, CLIP)
    assert warnings == [
        "clip.mp4 shows 3 faces; the largest is used.",
        "The face in clip.mp4 is small (80 pixels from brow to chin) and will be soft.",
        "40 of 100 frames show no face that can be tracked; their motion is filled in (longest gap 1.6 s).",
    ]
