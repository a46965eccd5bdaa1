"""Which pixels have the colour of this face's skin, in this light: to tell an ear or a cheek from hair at an edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Forehead, cheeks, nose, chin: MediaPipe landmarks that are skin on nearly everybody, beard and glasses or not.
_SKIN_POINTS = np.array([9, 151, 108, 337, 50, 280, 101, 330, 205, 425, 4, 195, 117, 346, 123, 352])
_FOREHEAD, _CHIN = 10, 152
# Where hair is looked for above the forehead, in face heights.
_HAIR_HEIGHTS = (0.12, 0.18, 0.24)
# In CIELAB units: how far skin may lie from the face's own, in lightness (ears are in shade) and in colour.
_SPREAD = np.array([32.0, 12.0, 12.0], np.float32)
# A "hair" colour this near to the skin's is a bald head's.
_BALD = 0.7


def skin_colour(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) median colour of the face in CIELAB, from an image (H, W, 3) at landmarks (478, 2)."""
    return np.median(_at(image, landmarks[_SKIN_POINTS]), 0).astype(np.float32)


def hair_colour(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) median colour above the forehead in CIELAB."""
    up = landmarks[_FOREHEAD] - landmarks[_CHIN]
    across = np.array([-up[1], up[0]], np.float32)
    points = [landmarks[_FOREHEAD] + h * up + s * across for h in _HAIR_HEIGHTS for s in (-0.15, 0.0, 0.15)]
    return np.median(_at(image, np.stack(points)), 0).astype(np.float32)


def rims_are_skin(
    points: NDArray[np.float32],
    outwards: NDArray[np.float32],
    image: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Whether the image just inside an edge is skin: near the face's own colour, and nearer to it than to the hair's.

    Args:
        points: (N, 2) pixels on the edge.
        outwards: (N, 2) unit normals of the edge.
        image: (H, W, 3).
        landmarks: (478, 2) pixels.

    Returns:
        (N,) bool.
    """
    skin, hair = skin_colour(image, landmarks), hair_colour(image, landmarks)
    scale = image.shape[0] / 512
    colours = np.mean([_at(image, points - outwards * (depth * scale)) for depth in (3, 5, 7)], axis=0)
    from_skin = _distance(colours, skin)
    if _distance(hair, skin) < _BALD:
        return np.asarray(from_skin < 1)
    return np.asarray((from_skin < 1) & (from_skin < 0.8 * _distance(colours, hair)))


def _distance(colours: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt((((colours - centre) / _SPREAD) ** 2).sum(-1)), np.float32)


def _at(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 3) CIELAB colours at points (N, 2) in pixels."""
    height, width = image.shape[:2]
    at = np.floor(points).astype(int)
    colours = image[np.clip(at[:, 1], 0, height - 1), np.clip(at[:, 0], 0, width - 1)]
    return np.asarray(cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0], np.float32)
