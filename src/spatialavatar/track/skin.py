"""Which pixels have the colour of this face's skin, in this light: to tell an ear or a cheek from hair at an edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Forehead, cheeks, nose, chin: MediaPipe landmarks that are skin on nearly everybody, beard and glasses or not.
_SKIN_POINTS = np.array([9, 151, 108, 337, 50, 280, 101, 330, 205, 425, 4, 195, 117, 346, 123, 352])
# In CIELAB units: how far skin may lie from the face's own, sideways in colour and in lightness (ears are in shade).
_COLOUR_SPREAD = 12.0
_LIGHTNESS_SPREAD = 32.0


@dataclass(frozen=True)
class SkinModel:
    """Median colour of a face: lightness, and the two colour axes, in CIELAB."""

    centre: NDArray[np.float32]


def skin_model(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> SkinModel:
    """The colour of the face in an image (H, W, 3) at landmarks (478, 2)."""
    height, width = image.shape[:2]
    points = np.floor(landmarks[_SKIN_POINTS]).astype(int)
    x, y = np.clip(points[:, 0], 0, width - 1), np.clip(points[:, 1], 0, height - 1)
    return SkinModel(np.median(_lab(image[y, x][None])[0], 0).astype(np.float32))


def skin_distance(image: NDArray[np.uint8], model: SkinModel) -> NDArray[np.float32]:
    """(H, W): below 1 is skin."""
    smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8)
    away = (_lab(smooth) - model.centre) / np.array([_LIGHTNESS_SPREAD, _COLOUR_SPREAD, _COLOUR_SPREAD], np.float32)
    return np.asarray(np.sqrt((away**2).sum(-1)), np.float32)


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
