"""What is measured of a recording: head motion, mouth, blinks, sharpness, light and more."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.track.curves import Curves
from spatialavatar.track.outline import OPEN

_SAMPLES = 24
# Luminance, of 255, from which a pixel counts as burnt out, and the percentile that is a face's bright parts.
_BURNT, _BRIGHT = 252, 95
# Faces turned further than this have a side in their own shadow: the light's evenness is not read from them.
_FRONTAL = 15.0
# The face is looked at in this height, so that sharpness means the same for all.
_FACE_HEIGHT = 224
# Cheeks and forehead on the subject's right and left: MediaPipe's numbers, in pairs that mirror each other.
_RIGHT_SIDE, _LEFT_SIDE = (50, 101, 205, 117, 108, 69), (280, 330, 425, 346, 337, 299)


@dataclass(frozen=True)
class Facts:
    """What is measured of a recording; None where it cannot be, or says nothing of this kind of input.

    Attributes:
        kind: "video" or "photos".
        frames: Their number.
        seconds: A video's length.
        face_height: Median height of the landmarks' box in pixels of the source.
        turned_left, turned_right: How far the head turns to the person's left and right, in degrees: 98th percentiles.
        nodding: Degrees between the lowest and the highest pitch (2nd and 98th percentile).
        mouth: 98th percentile of the lips' distance over the height of the face.
        blinks: How often the eyes shut.
        missing: Share of frames without a face.
        blur: Median of the faces' blur, 0 sharp to 1 (Crete and others, 2007).
        burnt: Median share of the face that is white, or has no detail left.
        brightness: Median of the face's bright parts, of 255.
        unevenness: Median ratio of the light on the two halves of a face seen from the front, at least 1.
        exposure_change: 95th over 5th percentile of the light on the face seen from the front.
        cut_off: Median share of the head's outline above the mouth that the picture's edge cuts.
        landmark_error: 95th percentile, over the inter-ocular distance.
        jitter: Pixels at 512.
        flicker: Width of the matte's rim that comes and goes, in pixels at 512.
        silhouette: Overlap of mesh and matte, hair apart.
        people: Most faces of comparable size seen at once.
        cuts: How often the picture changes at once.
        face_score: How sure the detector is that the face is a person's, in [0, 1].
    """

    kind: str
    frames: int
    seconds: float | None = None
    face_height: float | None = None
    turned_left: float | None = None
    turned_right: float | None = None
    nodding: float | None = None
    mouth: float | None = None
    blinks: int | None = None
    missing: float | None = None
    blur: float | None = None
    burnt: float | None = None
    brightness: float | None = None
    unevenness: float | None = None
    exposure_change: float | None = None
    cut_off: float | None = None
    landmark_error: float | None = None
    jitter: float | None = None
    flicker: float | None = None
    silhouette: float | None = None
    people: int | None = None
    cuts: int | None = None
    face_score: float | None = None

    def report(self) -> dict[str, Any]:
        """For JSON: rounded, without what could not be measured."""
        values = {key: value for key, value in asdict(self).items() if value is not None}
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}


def measured_facts(
    sequence: TrackedSequence,
    curves: Curves,
    *,
    scales: NDArray[np.float64] | None = None,
    cut_off: float | None = None,
    landmark_error: float | None = None,
    jitter: float | None = None,
    flicker: float | None = None,
    silhouette: float | None = None,
    people: int | None = None,
    cuts: int | None = None,
    face_score: float | None = None,
) -> Facts:
    """The facts of a tracked sequence; what other measurements gave is passed on.

    Args:
        scales: (T,) pixels of the frames per pixel of the source; 1 where it is not known.
    """
    assert sequence.landmarks is not None
    count = len(sequence)
    scales = np.ones(count) if scales is None else scales
    seen = np.flatnonzero(np.isfinite(curves.yaw))
    landmarks = sequence.landmarks.double().numpy()
    heights = np.ptp(landmarks[seen, :468, 1], axis=1) / scales[seen]
    pictures = _picture_facts(sequence, curves, scales)
    video = sequence.kind == "video"
    return Facts(
        kind=sequence.kind,
        frames=count,
        seconds=count / sequence.frame_rate if sequence.frame_rate > 0 else None,
        face_height=_median(heights),
        turned_left=_percentile(curves.yaw, 98),
        turned_right=_percentile(-curves.yaw, 98),
        nodding=_percentile(curves.pitch, 98) - _percentile(curves.pitch, 2),
        mouth=_percentile(curves.mouth, 98),
        blinks=curves.blinks if video else None,
        missing=1 - len(seen) / count,
        landmark_error=landmark_error,
        jitter=jitter,
        flicker=flicker,
        silhouette=silhouette,
        cut_off=cut_off,
        people=people,
        cuts=cuts,
        face_score=face_score,
        **pictures,
    )


def _picture_facts(sequence: TrackedSequence, curves: Curves, scales: NDArray[np.float64]) -> dict[str, float | None]:
    """What the pixels of some frames say."""
    assert sequence.landmarks is not None
    seen = np.flatnonzero(np.isfinite(curves.yaw))
    chosen = seen[np.unique(np.linspace(0, len(seen) - 1, _SAMPLES).astype(int))]
    blur, burnt, bright, uneven, light = [], [], [], [], []
    for k in chosen.tolist():
        image, points = sequence.image(k).numpy(), sequence.landmarks[k].numpy()
        blur.append(face_blur(image, points, float(scales[k])))
        share, brightness = face_exposure(image, points)
        burnt.append(share)
        bright.append(brightness)
        if abs(curves.yaw[k]) < _FRONTAL:
            right, left = (side_light(image, points, side) for side in (_RIGHT_SIDE, _LEFT_SIDE))
            uneven.append(max(right, left) / max(min(right, left), 1e-3))
            light.append((right + left) / 2)
    change = None
    if len(light) > 1:
        change = float(np.percentile(light, 95) / max(float(np.percentile(light, 5)), 1e-3))
    return {
        "blur": _median(np.array(blur)),
        "burnt": _median(np.array(burnt)),
        "brightness": _median(np.array(bright)),
        "unevenness": _median(np.array(uneven)),
        "exposure_change": change,
    }


def face_blur(image: NDArray[np.uint8], landmarks: NDArray[np.float32], scale: float = 1.0) -> float:
    """Blur of the face in an image (H, W, 3), 0 sharp to 1, looked at no larger than it was recorded.

    Args:
        landmarks: (478, 2) pixels.
        scale: Pixels of the image per pixel of its source.
    """
    from skimage.measure import blur_effect

    face = _face_box(image, landmarks)
    size = min(face.shape[0] / max(scale, 1.0), _FACE_HEIGHT) / face.shape[0]
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    if size < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=size, fy=size, interpolation=cv2.INTER_AREA), np.uint8)
    return float(blur_effect(grey)) if min(grey.shape) > 16 else float("nan")


def face_exposure(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> tuple[float, float]:
    """(share of the face that is burnt out, luminance of its bright parts of 255).

    Bright parts, and not the mean: dark skin in good light has highlights and the whites of the eyes.
    """
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(landmarks[:468]).astype(np.int32)), 255)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[mask > 0]
    if not len(grey):
        return 0.0, float("nan")
    return float((grey >= _BURNT).mean()), float(np.percentile(grey, _BRIGHT))


def side_light(image: NDArray[np.uint8], landmarks: NDArray[np.float32], side: tuple[int, ...]) -> float:
    """Light (linear, of 1) on some landmarks of the skin."""
    smooth = cv2.GaussianBlur(image, (0, 0), max(1.0, image.shape[0] / 256))
    at = np.floor(landmarks[list(side)]).astype(int)
    inside = np.clip(at, 0, [image.shape[1] - 1, image.shape[0] - 1])
    colours = smooth[inside[:, 1], inside[:, 0]].astype(np.float64) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return float(np.median(linear @ [0.2126, 0.7152, 0.0722]))


def _face_box(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    low = np.clip(np.floor(landmarks[:468].min(0)).astype(int), 0, None)
    high = np.ceil(landmarks[:468].max(0)).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    return part if part.size else image


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, percent)) if len(known) else float("nan")


def _median(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def cut_share(contours: NDArray[np.float32]) -> float | None:
    """Median share of the points (T, C, 6) of the mattes' upper contours that a picture's edge cuts."""
    shares = []
    for contour in contours:
        known = contour[np.isfinite(contour[:, 0])]
        if len(known):
            shares.append(float((known[:, OPEN] < 0.5).mean()))
    return float(np.median(shares)) if shares else None
