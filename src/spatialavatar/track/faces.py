"""Faces in images: MediaPipe's 478 landmarks, by either of its two interfaces, behind one of ours."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError

LANDMARKS = 478
RIGHT_IRIS, LEFT_IRIS = 468, 473
LANDMARKER_VARIABLE = "SPATIALAVATAR_FACE_LANDMARKER"


@dataclass(frozen=True)
class Face:
    """One face.

    Attributes:
        points: (478, 3) pixels, x right, y down; the third is depth on the same scale, towards the back.
        blendshapes: ARKit name -> score in [0, 1], where the interface gives them.
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
    """A box in pixels."""

    left: float
    top: float
    right: float
    bottom: float

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

    def __init__(self, least_score: float = 0.55) -> None:
        solution = media_pipe_solutions().face_detection
        self._detectors = [solution.FaceDetection(least_score, model_selection=k) for k in (0, 1)]

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
        height, width = part.shape[:2]
        found = []
        for detector in self._detectors:
            for detection in detector.process(np.ascontiguousarray(part)).detections or []:
                relative = detection.location_data.relative_bounding_box
                x, y = left + relative.xmin * width, top + relative.ymin * height
                box = Box(x, y, x + relative.width * width, y + relative.height * height)
                found.append((float(detection.score[0]), box))
        return found

    def close(self) -> None:
        for detector in self._detectors:
            detector.close()


class FaceMeshFinder:
    """The interface of MediaPipe's wheels up to 0.10.21, whose models lie in the wheel: works offline."""

    def __init__(self, still: bool) -> None:
        self._mesh: Any = media_pipe_solutions().face_mesh.FaceMesh(
            static_image_mode=still,
            max_num_faces=1,
            refine_landmarks=True,
            min_detection_confidence=0.5,
            min_tracking_confidence=0.5,
        )

    def find(self, image: NDArray[np.uint8], *, fresh: bool) -> Face | None:
        height, width = image.shape[:2]
        if fresh:
            self._mesh.reset()
        result = self._mesh.process(np.ascontiguousarray(image))
        if not result.multi_face_landmarks:
            return None
        points = [(p.x * width, p.y * height, p.z * width) for p in result.multi_face_landmarks[0].landmark]
        return Face(np.array(points, np.float32))

    def close(self) -> None:
        self._mesh.close()


class FaceLandmarkerFinder:
    """The newer interface, with a `face_landmarker.task` file; it also gives the 52 blendshape scores."""

    def __init__(self, model: str | os.PathLike[str]) -> None:
        path = Path(model)
        if not path.is_file():
            hint = f"Download face_landmarker.task from MediaPipe, or unset {LANDMARKER_VARIABLE}."
            raise UserError("this face landmarker model does not exist.", where=path, hint=hint)
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        self._image = mediapipe.Image
        self._format = mediapipe.ImageFormat.SRGB
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=path.read_bytes()),
            running_mode=vision.RunningMode.IMAGE,
            output_face_blendshapes=True,
            num_faces=1,
        )
        try:
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"this is not a face landmarker model ({reason}).", where=path) from None

    def find(self, image: NDArray[np.uint8], *, fresh: bool) -> Face | None:
        # Frames are taken one by one: its own mode for video smooths with a filter that lags.
        height, width = image.shape[:2]
        result = self._landmarker.detect(self._image(self._format, np.ascontiguousarray(image)))
        if not result.face_landmarks:
            return None
        points = [(p.x * width, p.y * height, p.z * width) for p in result.face_landmarks[0]]
        scores = {c.category_name: float(c.score) for c in result.face_blendshapes[0] if c.category_name != "_neutral"}
        return Face(np.array(points, np.float32), scores)

    def close(self) -> None:
        self._landmarker.close()


def open_finder(*, still: bool, model: str | os.PathLike[str] | None = None) -> LandmarkFinder:
    """The finder for photos (`still`) or video: by `model`, else by the environment, else the one in the wheel."""
    chosen = model or os.environ.get(LANDMARKER_VARIABLE)
    return FaceLandmarkerFinder(chosen) if chosen else FaceMeshFinder(still)


def media_pipe_solutions() -> Any:
    """MediaPipe's `solutions`, which only its older wheels have."""
    try:
        from mediapipe.python import solutions
    except ImportError:
        raise UserError(
            "tracking needs mediapipe 0.10.14, which is not installed.", hint="pip install mediapipe==0.10.14"
        ) from None
    return solutions
