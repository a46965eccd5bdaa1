"""Turned squares in pictures, and the small pictures that networks see of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError

# How much larger than the face's box the square is that the landmark models were trained on.
_MARGIN = 1.5
# Steps of a pixel in OpenCV's integer arithmetic.
_STEPS = 32
# Pixels; OpenCV counts them in 16 bits.
_LARGEST = 2**15 - 2


@dataclass(frozen=True)
class Region:
    """A turned box in a picture.

    Attributes:
        x, y: Its centre in pixels, counted from the picture's corner.
        width, height: Its sides in pixels.
        angle: Radians by which it is turned, from x to y.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    @property
    def axes(self) -> NDArray[np.float64]:
        """(2, 2) from shares of its sides to pixels."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cosine * self.width, -sine * self.height], [sine * self.width, cosine * self.height]])

    def to_picture(self, shares: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 2) shares of its sides, from its first corner -> pixels."""
        return np.asarray((shares - 0.5) @ self.axes.T + (self.x, self.y), np.float32)

    def see(self, image: NDArray[np.uint8], size: int, *, replicate: bool) -> NDArray[np.uint8]:
        """What lies in it, as (size, size, 3). Outside the picture is black, or as its edge where `replicate` is set.

        The networks follow half a pixel here or there by as much, so the sampling is MediaPipe's to the last bit: the
        box's corners are matched to the small picture's, both counted from pixels' centres, through the same functions
        of OpenCV; positions are rounded to 1/32 of a pixel, which newer OpenCV no longer does by itself.

        Raises:
            UserError: The picture is too large for OpenCV.
        """
        if max(image.shape[:2]) > _LARGEST:
            raise UserError(
                f"a picture of {image.shape[1]} x {image.shape[0]} pixels is too large to look for faces.",
                hint=f"Make its longer side at most {_LARGEST} pixels.",
            )
        corners = cv2.boxPoints(((self.x, self.y), (self.width, self.height), math.degrees(self.angle)))
        seen = np.array([[0, size], [0, 0], [size, 0], [size, size]], np.float32)
        backwards = cv2.invert(cv2.getPerspectiveTransform(corners, seen))[1]
        across, down = np.meshgrid(np.arange(size), np.arange(size))
        where = np.stack([across, down, np.ones_like(down)], -1) @ backwards.T
        steps = np.rint(where[..., :2] / where[..., 2:] * _STEPS).astype(np.int64)
        pixels, parts = (steps // _STEPS).astype(np.int16), (steps % _STEPS).astype(np.uint16)
        border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
        shares = parts[..., 1] * np.uint16(_STEPS) + parts[..., 0]
        return np.asarray(cv2.remap(image, pixels, shares, cv2.INTER_LINEAR, borderMode=border), np.uint8)


def whole(width: int, height: int) -> Region:
    """The whole picture."""
    return Region(width / 2, height / 2, width, height)


def letterbox(width: int, height: int) -> Region:
    """The smallest square around the whole picture."""
    side = max(width, height)
    return Region(width / 2, height / 2, side, side)


def face_region(
    box: NDArray[np.float32], start: NDArray[np.float32], end: NDArray[np.float32], *, square: bool = True
) -> Region:
    """The box around a face in which its landmarks are looked for.

    Args:
        box: (4,) left, top, right and bottom in pixels.
        start, end: (2,) points that lie side by side in an upright face: eyes, or their corners.
        square: Whether both sides are as the longer one.
    """
    across, down = (float(value) for value in end - start)
    width, height = _MARGIN * float(box[2] - box[0]), _MARGIN * float(box[3] - box[1])
    if square:
        width = height = max(width, height)
    return Region(float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2, width, height, math.atan2(down, across))
