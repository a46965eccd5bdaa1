"""The square crop around the head: where it lies in each frame, and how pixels get into it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialavatar.track.cuts import shots

# Side of the crop over the height of the landmarks' box (forehead to chin). The design's 1.65 is of a detector's
# larger box that holds the hair; of the landmarks' box 2.2 holds the hair, ears and the start of the shoulders.
_DILATION = 2.2
# The crop's centre lies this part of the box's height above the box's centre: hair needs more room than the neck.
_LIFT = 0.05
# A square image is used as it is when the face takes this part of its width.
_WHOLE_FRAME_FACE = 0.25
# A crop stands still while the face's centre moves less than this part of its height, and its size less than that.
_STILL_MOVE, _STILL_ZOOM = 0.6, 1.3
_SMOOTHING_SECONDS = 0.6
_HAIR_MARGIN = 0.05


@dataclass(frozen=True)
class Crops:
    """Square crops, one a frame, all scaled to size x size pixels.

    Attributes:
        corners: (T, 2) x, y of the left upper corner in source pixels.
        sides: (T,) in source pixels.
        size: Side of the result in pixels.
    """

    corners: NDArray[np.float64]
    sides: NDArray[np.float64]
    size: int

    @property
    def scales(self) -> NDArray[np.float64]:
        """(T,) result pixels per source pixel."""
        return self.size / self.sides

    def apply(self, points: NDArray[np.float32], index: int) -> NDArray[np.float32]:
        """Source pixels (..., 2) to pixels of the crop."""
        return ((points - self.corners[index]) * self.scales[index]).astype(np.float32)


def choose_crops(
    boxes: NDArray[np.float64],
    image_size: tuple[int, int],
    size: int,
    *,
    frame_rate: float,
    hair_tops: NDArray[np.float64] | None = None,
    mode: str = "auto",
    cuts: tuple[int, ...] = (),
) -> Crops:
    """Choose the crops of a video or of one photo.

    Args:
        boxes: (T, 4) left, top, right, bottom of the landmarks' boxes, NaN where no face was found.
        image_size: (width, height) of the source.
        size: Side of the result.
        frame_rate: Frames per second; 0 for a photo.
        hair_tops: (T,) rows of the top of the subject's matte where it was looked at, NaN elsewhere.
        mode: "auto", "face" (never the whole frame) or "none" (the centred square of the whole frame).
        cuts: First frames after cuts, over which nothing is smoothed.
    """
    count = len(boxes)
    width, height = image_size
    shorter = min(width, height)
    seen = boxes[np.isfinite(boxes).all(1)]
    face_width = float(np.median(seen[:, 2] - seen[:, 0]))
    if mode == "none" or (mode == "auto" and width == height and face_width >= _WHOLE_FRAME_FACE * width):
        corner = np.array([(width - shorter) / 2, (height - shorter) / 2])
        return Crops(np.repeat(corner[None], count, 0), np.full(count, float(shorter)), size)
    filled = _fill(boxes)
    centres = np.stack([(filled[:, 0] + filled[:, 2]) / 2, (filled[:, 1] + filled[:, 3]) / 2], 1)
    heights = np.maximum(filled[:, 3] - filled[:, 1], filled[:, 2] - filled[:, 0])
    above = 0.0
    if hair_tops is not None and np.isfinite(hair_tops).any():
        above = float(np.nanmax((centres[:, 1] - hair_tops) / heights))
    typical = float(np.median(heights))
    low, high = np.percentile(centres, 2, axis=0), np.percentile(centres, 98, axis=0)
    zoom = float(np.percentile(heights, 98) / np.percentile(heights, 2))
    if np.max(high - low) <= _STILL_MOVE * typical and zoom <= _STILL_ZOOM:
        centres = np.repeat(((low + high) / 2)[None], count, 0)
        heights = np.full(count, float(np.percentile(heights, 95)))
        above += float((high - low)[1]) / 2 / typical
    elif frame_rate > 0:
        sigma = _SMOOTHING_SECONDS * frame_rate
        for first, end in shots(cuts, count):
            centres[first:end] = _smooth(centres[first:end], sigma)
            heights[first:end] = np.exp(_smooth(np.log(heights[first:end])[:, None], sigma)[:, 0])
    sides, corners = _sides_and_corners(centres, heights, above)
    return Crops(corners, sides, size)


def cut(image: NDArray[np.uint8], crops: Crops, index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """The crop of one frame, (size, size, 3), and where it lies inside the source (None: everywhere).

    Beyond the source's edge its last pixels are repeated. Shrinking averages over areas, enlarging uses Lanczos.
    """
    height, width = image.shape[:2]
    (x, y), side, size = crops.corners[index], float(crops.sides[index]), crops.size
    left, top = int(np.floor(x)), int(np.floor(y))
    right, bottom = int(np.ceil(x + side)), int(np.ceil(y + side))
    if (left, top, right, bottom) == (0, 0, width, height) and side == size:
        return image, None
    pad_x, pad_y = max(-left, right - width, 0), max(-top, bottom - height, 0)
    patch: NDArray[np.uint8] = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    if pad_x or pad_y:
        edges = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
        patch = np.asarray(cv2.copyMakeBorder(patch, *edges, cv2.BORDER_REPLICATE), np.uint8)
    scale = size / side
    # To whole-pixel resolution first by averaging, then the rest of a pixel by an affine map: both keep edges exact.
    result = _resample(patch, (x - left, y - top), scale, size)
    if not (pad_x or pad_y):
        return result, None
    columns = (np.arange(size) + 0.5) / scale + x
    rows = (np.arange(size) + 0.5) / scale + y
    within = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    return result, within


def source_boxes(
    corners: NDArray[np.float64], scales: NDArray[np.float64], image_sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(T, 4) left, top, right and bottom of the source's picture in each crop, in the crop's pixels.

    Args:
        corners, scales: Of `Crops`.
        image_sizes: (T, 2) width and height of the source, in its own pixels.
    """
    first = -corners * scales[:, None]
    return np.concatenate([first, first + image_sizes * scales[:, None]], 1)


def _resample(patch: NDArray[np.uint8], offset: tuple[float, float], scale: float, size: int) -> NDArray[np.uint8]:
    """Map patch pixel p (corner convention) to (p - offset) * scale, on a size x size grid."""
    if scale < 1:
        # The Gaussian that removes what the smaller grid cannot hold; sigma 0.5 of a new pixel, less the old one's.
        sigma = 0.5 * float(np.sqrt(max(1 / scale**2 - 1, 0)))
        if sigma > 0.3:
            patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), sigma), np.uint8)
    shift_x = (0.5 - offset[0]) * scale - 0.5
    shift_y = (0.5 - offset[1]) * scale - 0.5
    matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]])
    kernel = cv2.INTER_CUBIC if scale < 1 else cv2.INTER_LANCZOS4
    return np.asarray(cv2.warpAffine(patch, matrix, (size, size), flags=kernel, borderMode=cv2.BORDER_REPLICATE))


def _sides_and_corners(
    centres: NDArray[np.float64], heights: NDArray[np.float64], above: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`above`: how far the hair reaches over the face's centre, in face heights; the square grows to hold it."""
    upper = max(_DILATION / 2 + _LIFT, above / (1 - 2 * _HAIR_MARGIN))
    lower = max(_DILATION / 2 - _LIFT, _DILATION * 0.9 - upper)
    sides = np.rint((upper + lower) * heights)
    corners = np.stack([centres[:, 0] - sides / 2, centres[:, 1] - upper * heights], 1)
    return sides, np.rint(corners) if np.ptp(sides) == 0 and np.max(np.ptp(centres, 0)) == 0 else corners


def _fill(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, K) with NaN rows interpolated, and held at the ends."""
    good = np.isfinite(values).all(1)
    at = np.arange(len(values))
    return np.stack([np.interp(at, at[good], column[good]) for column in values.T], 1)


def _smooth(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """(T, K) smoothed by a Gaussian over frames: no lag, since it looks both ways."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="nearest"))
