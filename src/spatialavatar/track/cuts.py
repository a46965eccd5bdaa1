"""Cuts in a video: frames that do not follow the one before."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

_SIZE = (48, 27)
# A cut changes the picture by this part of full white, on average, and this many times as much as frames did before.
_LEAST, _TIMES = 0.08, 5.0
_REMEMBERED = 25
# So many steps tell what is usual.
_FEWEST = 3


class CutFinder:
    """Looks at a video's frames one after the other."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._usual: deque[float] = deque(maxlen=_REMEMBERED)

    def step(self, image: NDArray[np.uint8]) -> bool:
        """Whether the frame (H, W, 3) is the first one after a cut.

        Small pictures are compared, so that it takes little time and a moving head is no cut; and against what is
        usual in this video, so that a shaking camera is none.
        """
        step = max(1, min(image.shape[:2]) // 160)  # Large frames need not be looked at in full.
        small = np.asarray(
            cv2.resize(np.ascontiguousarray(image[::step, ::step]), _SIZE, interpolation=cv2.INTER_AREA)
        ).astype(np.float32) / np.float32(255)
        if self._last is None:
            self._last = small
            return False
        change = float(np.abs(small - self._last).mean())
        self._last = small
        if len(self._usual) >= _FEWEST and change > _LEAST and change > _TIMES * float(np.median(self._usual)):
            return True
        self._usual.append(change)
        return False


def shots(cuts: tuple[int, ...], count: int) -> list[tuple[int, int]]:
    """The stretches [first, beyond the last) of `count` frames between cuts, each of which is a shot's first frame."""
    edges = [0, *cuts, count]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def nearest_of(some: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count,) for every frame the nearest of `some`, which are in order; the earlier one of two as near.

    Memory grows with the number of frames and not with its square: 10 minutes have 18,000.
    """
    at = np.arange(count)
    after = np.searchsorted(some, at).clip(0, len(some) - 1)
    before = (after - 1).clip(0)
    nearer = np.where(at - some[before] <= np.abs(some[after] - at), before, after)
    return np.asarray(some[nearer], np.int64)


def apart_in_time(frames: NDArray[np.int64], cuts: tuple[int, ...]) -> NDArray[np.float32]:
    """Frame numbers (T,) with a hole at every cut, so that frames on its two sides are no neighbours."""
    return (frames + 10 * np.searchsorted(np.array(cuts, np.int64), frames, side="right")).astype(np.float32)
