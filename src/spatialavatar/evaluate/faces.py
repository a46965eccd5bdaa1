"""Landmarks of pictures: MediaPipe's 478 points, found in every picture by itself.

No frame helps the next one: a detector that follows a face through a video smooths what is to be measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatialavatar.track.faces import (
    LANDMARKS,
    FaceDetector,
    FaceLandmarkerFinder,
    LandmarkFinder,
    MediaPipeDetector,
    open_finder,
)
from spatialavatar.track.follow import find_in_photo
from spatialavatar.track.networks.shipped import SOURCE

Points = NDArray[np.float32]

FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LIPS_OUTLINE = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
RIGHT_EYE_OUTLINE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE_OUTLINE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)


@dataclass(frozen=True)
class FaceReader:
    """Finds landmarks in pictures.

    Attributes:
        id: The detector's name and version.
    """

    id: str
    finder: LandmarkFinder
    detector: FaceDetector

    def __call__(self, image: NDArray[np.uint8]) -> Points:
        """(H, W, 3) uint8 -> (478, 3) pixels, the third being depth on the same scale; NaN where no face is found."""
        face = self.finder.find(image, fresh=True)
        if face is None:
            # Slower, and it finds small faces.
            face, _ = find_in_photo(image, self.finder, self.detector)
        if face is None or not np.isfinite(face.points).all():
            return np.full((LANDMARKS, 3), np.nan, np.float32)
        return face.points


@contextlib.contextmanager
def face_reader() -> Iterator[FaceReader]:
    """A reader that is closed in the end."""
    finder, detector = open_finder(still=True), MediaPipeDetector()
    kind = "landmarker" if isinstance(finder, FaceLandmarkerFinder) else "facemesh"
    try:
        yield FaceReader(f"{SOURCE}-{kind}", finder, detector)
    finally:
        finder.close()
        detector.close()


def has_face(points: Points) -> bool:
    """Whether (478, 2 or 3) landmarks are those of a face, and not the NaN of none."""
    return bool(np.isfinite(points).all())
