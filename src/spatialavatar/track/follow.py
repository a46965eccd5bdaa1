"""Follow one face through a video, or find it in a photo: which face, where to look for it, and when to refuse."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spatialavatar.track.faces import Box, Face, FaceDetector, LandmarkFinder

# Side of the window that landmarks are looked for in, over the detected box's: room for a second of motion.
_WINDOW = 3.0
# The face leaves the window's middle when its centre comes this close to the border, in window sides.
_BORDER = 0.25
# Two faces of nearly one size: a box counts beside the largest from this part of its area.
_RIVAL_AREA = 0.3
# MediaPipe's mesh is a guess beyond this angle: half the face is hidden.
PROFILE_YAW = math.radians(65)
_CHECK_EVERY = 25
_PHOTO_FACE = 256
# Longer side of what detectors are given: they see it, or a half of it, in 192 pixels, and copy all of it many times.
_DETECTED_SIDE = 2048
# A face that is lost is looked for near its last place for so many frames; then anybody's is taken.
_PATIENCE = 30
# From one frame to the next a face moves by no more than this part of its box, and grows or shrinks no more than so.
_FURTHEST_STEP, _LARGEST_GROWTH = 1.0, 2.0


@dataclass
class Tally:
    """What was seen on the way, for messages.

    Attributes:
        looked: Frames looked at.
        detected: Frames in which a detector found a face although no landmarks were found.
        profiles: Frames whose face was turned too far.
        several: Most faces of comparable size seen at once.
        others: Frames in which a face was seen, but not where the followed one can be.
        returns: Numbers of the frames in which a face was taken up after the followed one was gone for long.
    """

    looked: int = 0
    detected: int = 0
    profiles: int = 0
    several: int = 1
    others: int = 0
    returns: list[int] = field(default_factory=list)


class FaceFollower:
    """The largest face of the first frame that has one, through all frames after it."""

    def __init__(self, finder: LandmarkFinder, detector: FaceDetector):
        self.tally = Tally()
        self._finder = finder
        self._detector = detector
        self._window: tuple[int, int, int, int] | None = None
        self._last: Box | None = None
        self._lost = 0

    def step(self, image: NDArray[np.uint8], cut: bool = False) -> Face | None:
        """The followed face in the next frame (H, W, 3), in pixels of the whole frame; None where it is not seen.

        Args:
            cut: Whether the frame does not follow the last one, so that the face may be anywhere.
        """
        if cut:
            self._window, self._lost = None, _PATIENCE
        check = self.tally.looked % _CHECK_EVERY == 0
        self.tally.looked += 1
        face = None
        if self._window is not None:
            face = self._in_window(image, fresh=False)
        if face is None or check:
            boxes = self._detector.boxes(image, thorough=check and self._last is None)
            self._count(boxes)
            chosen = self._choose(boxes)
            if face is None and chosen is not None:
                self._window = window_around(chosen, image.shape[1], image.shape[0])
                face = self._in_window(image, fresh=True)
                self.tally.detected += face is None
        if face is None:
            self._window = None
            self._lost += 1
            return None
        if abs(face.yaw) > PROFILE_YAW:
            self.tally.profiles += 1
            self._window = None
            self._lost += 1
            return None
        if self._last is not None and self._lost >= _PATIENCE and not cut:
            self.tally.returns.append(self.tally.looked - 1)
        self._last, self._lost = face.box, 0
        self._keep_in_view(face, image.shape[1], image.shape[0])
        return face

    def _in_window(self, image: NDArray[np.uint8], fresh: bool) -> Face | None:
        assert self._window is not None
        left, top, right, bottom = self._window
        face = self._finder.find(image[top:bottom, left:right], fresh=fresh)
        if face is None or not np.isfinite(face.points).all():
            return None
        found = shifted(face, left, top)
        if self._can_be(found.box):
            return found
        self.tally.others += 1
        return None

    def _choose(self, boxes: list[Box]) -> Box | None:
        """The box nearest to where the face was last, if it can be there; the largest where there was none."""
        if not boxes:
            return None
        if self._last is None:
            return max(boxes, key=lambda b: b.area)
        x, y = self._last.centre
        nearest = min(boxes, key=lambda b: math.hypot(b.centre[0] - x, b.centre[1] - y))
        # A detector's box is another one than the landmarks': only its place counts.
        if self._lost < _PATIENCE and self._distance(nearest) > 1:
            self.tally.others += 1
            return None
        return nearest

    def _can_be(self, box: Box) -> bool:
        """Whether the followed face can be there, where it was a moment ago: else it is somebody who walks by."""
        if self._last is None or self._lost >= _PATIENCE:
            return True
        growth = max(box.height, 1e-6) / max(self._last.height, 1e-6)
        return self._distance(box) <= 1 and 1 / _LARGEST_GROWTH <= growth <= _LARGEST_GROWTH

    def _distance(self, box: Box) -> float:
        """From where the face was last, over the furthest that it can have come since."""
        assert self._last is not None
        (x, y), (a, b) = box.centre, self._last.centre
        size = max(self._last.width, self._last.height, 1e-6)
        return math.hypot(x - a, y - b) / (_FURTHEST_STEP * size * (1 + 0.1 * self._lost))

    def _count(self, boxes: list[Box]) -> None:
        if boxes:
            largest = max(box.area for box in boxes)
            self.tally.several = max(self.tally.several, sum(box.area > _RIVAL_AREA * largest for box in boxes))

    def _keep_in_view(self, face: Face, width: int, height: int) -> None:
        """Ask for a new window when the face nears the border of this one, unless that is the image's own."""
        assert self._window is not None
        left, top, right, bottom = self._window
        x, y = face.box.centre
        margin_x, margin_y = _BORDER * (right - left), _BORDER * (bottom - top)
        outside = (
            (x < left + margin_x and left > 0)
            or (x > right - margin_x and right < width)
            or (y < top + margin_y and top > 0)
            or (y > bottom - margin_y and bottom < height)
        )
        if outside:
            self._window = None


def find_in_photo(
    image: NDArray[np.uint8], finder: LandmarkFinder, detector: FaceDetector
) -> tuple[Face | None, Tally]:
    """The largest face of a photo (H, W, 3), looked for in an enlarged window where it is small."""
    tally = Tally(looked=1)
    small, scale = shrunk(image)
    boxes = sorted((box.scaled(1 / scale) for box in detector.boxes(small, thorough=True)), key=lambda b: -b.area)
    if boxes:
        tally.several = sum(box.area > _RIVAL_AREA * boxes[0].area for box in boxes)
    face = None
    for box in boxes:
        window = window_around(box, image.shape[1], image.shape[0])
        face = _find_enlarged(image, window, box, finder)
        if face is not None:
            break
    if face is None:
        face = finder.find(image, fresh=True)
    tally.detected = int(face is None and bool(boxes))
    if face is not None and abs(face.yaw) > PROFILE_YAW:
        tally.profiles = 1
        return None, tally
    return face, tally


def shrunk(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """The picture (H, W, 3) no larger than a detector can make use of, and its pixels per pixel of the original."""
    import cv2

    longer = max(image.shape[:2])
    if longer <= _DETECTED_SIDE:
        return image, 1.0
    scale = _DETECTED_SIDE / longer
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def window_around(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """A square (left, top, right, bottom) of whole pixels around a box, cut by the image."""
    half = _WINDOW * max(box.width, box.height) / 2
    x, y = box.centre
    left, right = max(0, math.floor(x - half)), min(width, math.ceil(x + half))
    top, bottom = max(0, math.floor(y - half)), min(height, math.ceil(y + half))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def shifted(face: Face, left: float, top: float, scale: float = 1.0) -> Face:
    """The face found in a part of an image that was enlarged by `scale`, in pixels of the whole."""
    points = face.points / scale + np.array([left, top, 0.0], np.float32)
    return Face(points.astype(np.float32), face.blendshapes)


def _find_enlarged(
    image: NDArray[np.uint8], window: tuple[int, int, int, int], box: Box, finder: LandmarkFinder
) -> Face | None:
    import cv2

    left, top, right, bottom = window
    part = image[top:bottom, left:right]
    scale = max(1.0, _PHOTO_FACE / max(box.width, box.height, 1.0))
    if scale > 1:
        part = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
    face = finder.find(part, fresh=True)
    return None if face is None else shifted(face, left, top, scale)
