"""Which way up pictures are, and how much what is found in them looks like a person's face: by the detector's score.

A file without EXIF may show its face upside down or sideways. The landmarks do not tell: fitted to a face upside down
they come out upright, on forehead and chin. The detector does: in 45 pictures (photos, paintings, frames of seven
videos) its score was 0.82 to 0.98 upright, and turned at most 0.84 and at least 0.09 less than upright.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatialavatar.track.faces import Box, FaceDetector
from spatialavatar.track.follow import shrunk, window_around

SURE_FACE = 0.8
"""Of the detector's score in a window around the face: people, painted ones too, have 0.82 and more (masked mouth 0.84,
sunglasses 0.82); a cheetah had 0.71, a doll 0.68, a cup 0.62; strong blur takes a person to 0.61."""

_PLAIN = 0.9
"""A face of this score is upright: no portrait turned had more than 0.84 within `_UPRIGHT_ROLL`."""

_GAIN = 0.05
"""A turned picture must score this much more than as it is; about half of the least difference seen, 0.09."""

_UPRIGHT_ROLL = math.radians(45)
"""A box whose eyes and mouth say that the face lies further over is none of an upright face."""

_THOROUGH = 3
"""Pictures in which small faces are looked for, too, which takes half a second in four positions."""

_ENOUGH = 3
"""Pictures with a face that decide for a video."""


@dataclass(frozen=True)
class Upright:
    """How pictures are to be turned.

    Attributes:
        turns: Quarter turns counter-clockwise, 0 to 3, as `numpy.rot90` takes them.
        score: Of the face then, 0 to 1; NaN where the detector finds none.
    """

    turns: int
    score: float

    @property
    def is_sure(self) -> bool:
        """Whether it is a person's face, as far as the detector can tell; where it finds none, nothing is claimed."""
        return not self.score < SURE_FACE

    def note(self, name: str) -> str | None:
        """What is said of it; None where the picture is upright as it is."""
        if self.turns == 0:
            return None
        how = "is upside down" if self.turns == 2 else "lies on its side"
        by = {1: "90 degrees to the left", 2: "180 degrees", 3: "90 degrees to the right"}[self.turns]
        return f"The face in {name} {how}: it is turned by {by}."

    def doubt(self, name: str) -> str | None:
        """What is said where the face may not be a person's."""
        if self.is_sure:
            return None
        return (
            f"What is found in {name} looks only a little like a person's face (score {self.score:.2f}, of people 0.82 "
            "and more): an animal, a drawing, or a face that is blurred or mostly covered. Only people can be tracked "
            "well; look at the overlay."
        )


def find_upright(images: Iterable[NDArray[np.uint8]], detector: FaceDetector) -> Upright:
    """Decide for one photo, or once for all frames of a video.

    Args:
        images: (H, W, 3) each; no more are taken than are needed.
        detector: Finds faces, with their scores and rolls.
    """
    votes: list[list[float]] = []
    for count, image in enumerate(shrunk(image)[0] for image in images):
        as_it_is = _best(image, 0, detector, thorough=False)
        if as_it_is >= _PLAIN and not votes:
            return Upright(0, as_it_is)
        scores = [as_it_is, *(_best(image, turns, detector, thorough=False) for turns in (1, 2, 3))]
        if max(scores) < SURE_FACE and count < _THOROUGH:
            scores = [_best(image, turns, detector, thorough=True) for turns in range(4)]
        if max(scores) > 0:
            votes.append(scores)
        if len(votes) >= _ENOUGH:
            break
    if not votes:
        return Upright(0, float("nan"))
    mean = np.mean(votes, 0)
    turns = int(mean.argmax())
    # Only for what is surely a face: in noise and leaves something is seen in one position or another.
    if mean[turns] < max(SURE_FACE, mean[0] + _GAIN):
        turns = 0
    return Upright(turns, float(mean[turns]) if mean[turns] > 0 else float("nan"))


def turned(image: NDArray[np.uint8], turns: int) -> NDArray[np.uint8]:
    """(H, W, 3) by quarter turns counter-clockwise."""
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _best(image: NDArray[np.uint8], turns: int, detector: FaceDetector, thorough: bool) -> float:
    """The score of the surest upright face of the turned picture, in a window around it; 0 without one."""
    picture = turned(image, turns)
    boxes = [box for box in detector.boxes(picture, thorough=thorough) if _is_upright(box)]
    if not boxes:
        return 0.0
    best = max(boxes, key=lambda box: box.score)
    left, top, right, bottom = window_around(best, picture.shape[1], picture.shape[0])
    near = [box.score for box in detector.boxes(picture[top:bottom, left:right]) if _is_upright(box)]
    return max([best.score, *near])


def _is_upright(box: Box) -> bool:
    return abs(box.roll) <= _UPRIGHT_ROLL
