"""What is seen of a person before anything is fitted, and how it is looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.track.crop import source_boxes
from spatialavatar.track.faces import LEFT_IRIS, RIGHT_IRIS


@dataclass(frozen=True)
class Observations:
    """T frames as seen; every length in pixels of the crop unless it says otherwise.

    Attributes:
        kind: "video" or "photos".
        names: T names.
        size: Side of the crops.
        frame_rate: Frames per second; 0 for photos.
        landmarks: (T, 478, 3), NaN where no face was seen.
        contours: (T, C, 6) points on the mattes' edges, see `outline.matte_contour`; NaN rows beyond their number.
        torsos: T small views of the torso for `torso.torso_motion`.
        crops: Where the crops lie, per frame.
        image_sizes: (T, 2) width and height of the source images in their own pixels.
        warnings: Sentences for people.
        people: Most faces of comparable size seen at once.
        cuts: The first frames after cuts.
        face_score: How sure the detector is that the face is one, of photos the least; None where it was not asked.
    """

    kind: Literal["video", "photos"]
    names: tuple[str, ...]
    size: int
    frame_rate: float
    landmarks: NDArray[np.float32]
    contours: NDArray[np.float32]
    torsos: Sequence[NDArray[np.uint8]]
    corners: NDArray[np.float64]
    scales: NDArray[np.float64]
    image_sizes: NDArray[np.float64]
    warnings: tuple[str, ...]
    people: int = 1
    cuts: tuple[int, ...] = ()
    face_score: float | None = None

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(T,) whether the frame has a face."""
        return np.isfinite(self.landmarks[:, 0, 0])

    @property
    def source_boxes(self) -> Tensor | None:
        """(T, 4) left, top, right and bottom of the source's picture in the crops; None where it fills them all."""
        boxes = source_boxes(self.corners, self.scales, self.image_sizes)
        everywhere = (boxes[:, :2] <= 0).all() and (boxes[:, 2:] >= self.size).all()
        return None if everywhere else torch.from_numpy(boxes).float()

    @property
    def inter_ocular(self) -> NDArray[np.float32]:
        """(T,) distance of the iris centres."""
        between = self.landmarks[:, RIGHT_IRIS, :2] - self.landmarks[:, LEFT_IRIS, :2]
        return np.linalg.norm(between, axis=1).astype(np.float32)


@dataclass(frozen=True)
class ObserveOptions:
    """How to look.

    Attributes:
        size: Side of the crops in pixels.
        crop: "auto", "face" or "none"; see `crop.choose_crops`.
        every: Use every n-th frame of a video.
        max_frames: Use at most so many frames of a video.
        landmarker: A face_landmarker.task file, for the newer of MediaPipe's interfaces.
        expect: Called with a video's number of frames: before the work where the file says it, or else half way.
    """

    size: int = 512
    crop: str = "auto"
    every: int = 1
    max_frames: int | None = None
    landmarker: str | os.PathLike[str] | None = None
    expect: Callable[[int], None] = lambda _: None
