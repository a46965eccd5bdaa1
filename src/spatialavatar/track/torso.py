"""How the torso moves in the image, apart from the head: registration of small pictures of it.

No landmark lies on the torso, and its outline alone leaves it free to slide; clothes, collar and outline together
hold it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_VIEW = 128
_BELOW_CHIN = 0.12
# Views with less contrast than this (standard deviation, of 255) cannot be registered.
_LEAST_CONTRAST = 4.0
_LEAST_CORRELATION = 0.7
_LEAST_AREA = 0.03
_BACKGROUND = 128


def torso_view(
    image: NDArray[np.uint8],
    matte: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    inside: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """A small picture of the torso.

    Args:
        image: (H, W, 3).
        matte: (H, W).
        landmarks: (478, 2) pixels.
        inside: (H, W) where the crop lies within the source image; nothing is known elsewhere.

    Returns:
        (V, V, 3): grey on a flat background; 1 where it may be registered, below the chin, else 0; and 255 where the
        subject is or, beyond the source image, may be.
    """
    size = (_VIEW, _VIEW)
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = cv2.resize(matte, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    flat = grey * alpha + _BACKGROUND * (1 - alpha)
    scale = _VIEW / image.shape[0]
    chin, forehead = landmarks[152] * scale, landmarks[10] * scale
    top = chin[1] + _BELOW_CHIN * abs(float(chin[1] - forehead[1]))
    below = (np.arange(_VIEW)[:, None] + 0.5 > top) & np.ones((1, _VIEW), bool)
    if inside is not None:
        known = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
        # The source's own edge does not move with the torso: it must not be registered.
        below &= cv2.erode(known.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1).astype(bool)
        alpha = np.where(known, alpha, 1.0)
    return np.stack([flat + 0.5, below, alpha * 255], -1).astype(np.uint8)


class KeptViews(Sequence[NDArray[np.uint8]]):
    """Views of `torso_view`, packed: 9 kB each in place of 49, so that those of 10 minutes take 0.2 GB and not 0.9."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []

    def append(self, view: NDArray[np.uint8]) -> None:
        """Keep one more view (V, V, 3)."""
        self._packed.append(zlib.compress(view.transpose(2, 0, 1).tobytes(), 1))

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        flat = np.frombuffer(zlib.decompress(self._packed[index]), np.uint8)
        return flat.reshape(3, _VIEW, _VIEW).transpose(1, 2, 0)


def torso_motion(views: Sequence[NDArray[np.uint8]], size: int, reference: int) -> NDArray[np.float64] | None:
    """Motion of the torso in the image against the reference frame: affine, since who leans forward grows and tilts.

    Args:
        views: T views of `torso_view`.
        size: Side in pixels of the images they were made from.
        reference: Index of the frame the others are compared with.

    Returns:
        (T, 2, 3) maps from reference pixels to pixels of each frame, or None where the torso cannot be seen.
    """
    first = views[reference]
    area = first[..., 1].astype(bool)
    if area.mean() < _LEAST_AREA or first[..., 0][area].std() < _LEAST_CONTRAST:
        return None
    maps = np.repeat(np.eye(2, 3)[None], len(views), 0)
    for steps in (range(reference + 1, len(views)), range(reference - 1, -1, -1)):
        guess = np.eye(2, 3, dtype=np.float32)
        for k in steps:
            guess = _register(first, views[k], guess)
            maps[k] = guess
    scale = size / _VIEW
    maps[:, :, 2] *= scale
    # Pixel centres are half a pixel from the corner that our coordinates count from.
    shift = 0.5 * scale - 0.5 * scale * maps[:, :, :2].sum(2)
    maps[:, :, 2] += shift
    return maps


def distance_outside(view: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """(V, V) how far each place of a view lies outside the matte, in pixels of the frame; 0 within."""
    outside = (view[..., 2] < 128).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(outside, cv2.DIST_L2, 5) * (size / _VIEW), np.float32)


def _register(reference: NDArray[np.uint8], view: NDArray[np.uint8], guess: NDArray[np.float32]) -> NDArray[np.float32]:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    mask = reference[..., 1] & view[..., 1]
    try:
        correlation, found = cv2.findTransformECC(
            np.ascontiguousarray(reference[..., 0]),
            np.ascontiguousarray(view[..., 0]),
            guess.copy(),
            cv2.MOTION_AFFINE,
            criteria,
            np.ascontiguousarray(mask),
            3,
        )
    except cv2.error:  # It did not converge: the torso is taken to rest where it was.
        return guess
    moved = float(np.abs(found[:, 2]).max()) / _VIEW
    return np.asarray(found, np.float32) if correlation > _LEAST_CORRELATION and moved < 0.35 else guess
