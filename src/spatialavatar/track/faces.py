"""Faces in images: MediaPipe's 478 landmarks, by either of its two families of models, behind one interface."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.track.networks.landmarker import read_landmarker
from spatialavatar.track.networks.landmarks import next_region
from spatialavatar.track.networks.region import Region
from spatialavatar.track.networks.shipped import attention_mesh, full_range_detector, short_range_detector

LANDMARKS = 478
RIGHT_IRIS, LEFT_IRIS = 468, 473
LANDMARKER_VARIABLE = "SPATIALAVATAR_FACE_LANDMARKER"


@dataclass(frozen=True)
class Face:
    """One face.

    Attributes:
        points: (478, 3) pixels, x right, y down; the third is depth on the same scale, towards the back.
        blendshapes: ARKit name -> score in [0, 1], where the models give them.
    """

    points: NDArray[np.float32]
    blendshapes: dict[str, float] | None = None

    @property
    def box(self) -> Box:
        """The box around the face's landmarks, without the irises'."""
        low, high = self.points[:468, :2].min(0), self.points[:468, :2].max(0)
        return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    @property
    def inter_ocular(self) -> float:
        """Distance of the iris centres in pixels."""
        return float(np.linalg.norm(self.points[RIGHT_IRIS, :2] - self.points[LEFT_IRIS, :2]))

    @property
    def yaw(self) -> float:
        """Rough angle from the camera in radians, by MediaPipe's own depth; positive to the image's right."""
        across = self.points[454] - self.points[234]
        return float(np.arctan2(across[2], max(across[0], 1e-6)))


@dataclass(frozen=True)
class Box:
    """A box in pixels.

    Attributes:
        left, top, right, bottom: Its edges.
        score: How sure a detector is of the face in it, in [0, 1]; 0 where none was asked.
        roll: How far the face leans over in the picture's plane, in radians from upright, in (-pi, pi].
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float = 0.0
    roll: float = 0.0

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def scaled(self, factor: float) -> Box:
        """The same box in a picture of `factor` times as many pixels a side."""
        left, top, right, bottom = (edge * factor for edge in (self.left, self.top, self.right, self.bottom))
        return Box(left, top, right, bottom, self.score, self.roll)

    def overlap(self, other: Box) -> float:
        """Intersection over union."""
        both = Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )
        shared = both.area if both.width > 0 and both.height > 0 else 0.0
        return shared / max(self.area + other.area - shared, 1e-9)


def face_roll(right_eye: NDArray[np.floating], left_eye: NDArray[np.floating], mouth: NDArray[np.floating]) -> float:
    """How far a face leans over, in radians, by pixels (2,) of its eyes and mouth; clockwise is positive."""
    down = mouth - (right_eye + left_eye) / 2
    return float(np.arctan2(-down[0], down[1]))


class LandmarkFinder(Protocol):
    """Landmarks of the clearest face in an image (H, W, 3) uint8; None where there is none."""

    def find(self, image: NDArray[np.uint8], *, fresh: bool) -> Face | None:
        """`fresh` says that the image does not follow the last one: nothing is carried over from it."""
        ...

    def close(self) -> None: ...


class FaceDetector(Protocol):
    """Boxes of all faces in an image, surest first."""

    def boxes(self, image: NDArray[np.uint8], *, thorough: bool = False) -> list[Box]:
        """`thorough` asks for faces of a twentieth of the image too, which takes ten times as long."""
        ...

    def close(self) -> None: ...


class MediaPipeDetector:
    """MediaPipe's two detectors together: one for faces that fill the image, one for small ones."""

    def __init__(self) -> None:
        self._detectors = (short_range_detector(), full_range_detector())

    def boxes(self, image: NDArray[np.uint8], *, thorough: bool = False) -> list[Box]:
        found = self._detect(image, 0, 0)
        if thorough and not found:
            # The detectors see a picture of 192 pixels: a far face shows only in a part of the image.
            height, width = image.shape[:2]
            for top in (0, height // 4, height // 2):
                for left in (0, width // 4, width // 2):
                    found += self._detect(image[top : top + height // 2, left : left + width // 2], left, top)
        found.sort(key=lambda item: -item[0])
        kept: list[Box] = []
        for _, box in found:
            if all(box.overlap(other) < 0.3 for other in kept):
                kept.append(box)
        return kept

    def _detect(self, part: NDArray[np.uint8], left: int, top: int) -> list[tuple[float, Box]]:
        """Scores and boxes, in pixels of the image whose part this is."""
        if part.size == 0:
            return []
        part = np.ascontiguousarray(part)
        found = []
        for detector in self._detectors:
            for face in detector.find(part):
                x, y, right, bottom = (float(value) for value in face.box + np.array([left, top, left, top]))
                right_eye, left_eye, _, mouth = face.points[:4]
                roll = face_roll(right_eye, left_eye, mouth)
                found.append((face.score, Box(x, y, right, bottom, face.score, roll)))
        return found

    def close(self) -> None:
        """Nothing is open."""


class FaceMeshFinder:
    """MediaPipe's face mesh with attention, whose models come with the package."""

    def __init__(self, still: bool) -> None:
        """
        Args:
            still: Whether images do not follow each other, so that every face is looked for anew.
        """
        self._still = still
        self._detector, self._mesh = short_range_detector(), attention_mesh()
        self._region: Region | None = None

    def find(self, image: NDArray[np.uint8], *, fresh: bool) -> Face | None:
        image = np.ascontiguousarray(image)
        if fresh or self._still:
            self._region = None
        if self._region is None:
            faces = self._detector.find(image)
            if not faces:
                return None
            self._region = faces[0].region
        points = self._mesh.find(image, self._region)
        self._region = None if points is None else next_region(points)
        return None if points is None else Face(points)

    def close(self) -> None:
        """Nothing is open."""


class FaceLandmarkerFinder:
    """MediaPipe's newer models from a `face_landmarker.task` file; they also give 51 of ARKit's blendshape scores."""

    def __init__(self, model: str | os.PathLike[str]) -> None:
        path = Path(model)
        if not path.is_file():
            hint = f"Download face_landmarker.task from MediaPipe, or unset {LANDMARKER_VARIABLE}."
            raise UserError("this face landmarker model does not exist.", where=path, hint=hint)
        self._models = read_landmarker(path)

    def find(self, image: NDArray[np.uint8], *, fresh: bool) -> Face | None:
        # Frames are taken one by one: MediaPipe's own mode for video smooths with a filter that lags.
        image = np.ascontiguousarray(image)
        faces = self._models.detector.find(image)
        points = self._models.mesh.find(image, faces[0].box_region) if faces else None
        return None if points is None else Face(points, self._models.blendshapes(points))

    def close(self) -> None:
        """Nothing is open."""


def open_finder(*, still: bool, model: str | os.PathLike[str] | None = None) -> LandmarkFinder:
    """The finder for photos (`still`) or video: by `model`, else by the environment, else the package's own."""
    chosen = model or os.environ.get(LANDMARKER_VARIABLE)
    return FaceLandmarkerFinder(chosen) if chosen else FaceMeshFinder(still)
