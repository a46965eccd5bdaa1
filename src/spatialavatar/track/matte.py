"""Mattes: which pixels are the subject, with soft edges that follow the hair.

MediaPipe's selfie segmentation works at 256 x 256. Its answer is sharpened by a guided filter (He, Sun, Tang, 2010)
with the image as the guide, which moves the soft edge onto the image's own edges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialavatar.track.networks.shipped import person_segmentation

# Radius in pixels at 512: the segmentation's own pixel is 2 and its edge about 4 of them wide.
_GUIDE_RADIUS = 8
# Variance of the guide, of colours in [0, 255], below which an area counts as flat.
_GUIDE_EPSILON = 2e-4 * 255**2
# The soft edge is stretched: what is hardly the subject would bring a halo of the background with it.
_SURE_OUTSIDE, _SURE_INSIDE = 0.3, 0.9


class Segmenter:
    """MediaPipe's selfie segmentation."""

    def __init__(self) -> None:
        self._model = person_segmentation()

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 -> (H, W) in [0, 1]."""
        return self._model(np.ascontiguousarray(image))

    def close(self) -> None:
        """Nothing is open."""


def median_of_three(
    probabilities: Iterable[NDArray[np.float32]], cuts: Collection[int] = ()
) -> Iterator[NDArray[np.float32]]:
    """The median of each frame and its two neighbours: takes out flicker of one frame, and does not lag.

    The first and last frames, of the video and of each shot (`cuts` are the first frames after cuts), stay as they are.
    """
    before: NDArray[np.float32] | None = None
    now: NDArray[np.float32] | None = None
    for index, after in enumerate(probabilities):
        cut = index in cuts
        if now is not None:
            yield now if before is None or cut else _median(before, now, after)
        before, now = None if cut else now, after
    if now is not None:
        yield now


def refine_matte(
    image: NDArray[np.uint8],
    probability: NDArray[np.float32],
    face: tuple[float, float],
    inside: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Sharpen one matte.

    Args:
        image: (H, W, 3) uint8.
        probability: (H, W) in [0, 1].
        face: (x, y) of the face's centre in pixels: the blob it lies in is kept and others are dropped.
        inside: (H, W) where the crop lies within the source image; the matte is zero elsewhere.

    Returns:
        (H, W) uint8.
    """
    radius = max(2, round(_GUIDE_RADIUS * image.shape[0] / 512))
    alpha = guided_filter(image, probability, radius, _GUIDE_EPSILON)
    alpha = np.clip((alpha - _SURE_OUTSIDE) / (_SURE_INSIDE - _SURE_OUTSIDE), 0, 1)
    if inside is not None:
        alpha = alpha * inside
    return (keep_blob(alpha, face, radius) * 255 + 0.5).astype(np.uint8)


def guided_filter(
    guide: NDArray[np.uint8], values: NDArray[np.float32], radius: int, epsilon: float
) -> NDArray[np.float32]:
    """(H, W) values as a locally linear function of the guide (H, W, 3); OpenCV's, or ours of the grey guide."""
    if hasattr(cv2, "ximgproc"):
        return np.asarray(cv2.ximgproc.guidedFilter(guide, values, radius, epsilon), np.float32)
    grey = cv2.cvtColor(guide, cv2.COLOR_RGB2GRAY).astype(np.float32)

    def mean(x: Any) -> Any:
        return cv2.boxFilter(x, cv2.CV_32F, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_values = mean(grey), mean(values)
    slope = (mean(grey * values) - mean_guide * mean_values) / (mean(grey * grey) - mean_guide**2 + epsilon)
    offset = mean_values - slope * mean_guide
    return np.asarray(mean(slope) * grey + mean(offset), np.float32)


def keep_blob(alpha: NDArray[np.float32], face: tuple[float, float], margin: int) -> NDArray[np.float32]:
    """Only the connected area that holds the face, with its soft edge of `margin` pixels."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats((alpha > 0.5).astype(np.uint8), connectivity=4)
    if count <= 2:
        return alpha
    height, width = alpha.shape
    x, y = min(max(int(face[0]), 0), width - 1), min(max(int(face[1]), 0), height - 1)
    label = int(labels[y, x]) or 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    near = cv2.dilate((labels == label).astype(np.uint8), kernel)
    # Within the margin of another blob's own area nothing of it may come back.
    near[(labels != 0) & (labels != label)] = 0
    return alpha * near


def _median(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
