"""What happens in a tracked sequence over time: error, trembling, blinks, mouth and head turns, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spatialavatar.files import write_atomically
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import LandmarkEmbedding
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.track.measure import INNER_WEIGHT, fitted_landmarks

CURVES_FILE = "curves.png"
CLOSED = 0.5
"""An eye counts as shut when its opening is below this part of its usual one."""

# Pairs across the eyes' openings and along them, and across the lips and along the face.
_LIDS = ((159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373))
_CORNERS = ((33, 133), (263, 362))
_LIPS, _FACE = (13, 14), (10, 152)
_USUALLY_OPEN = 75  # Percentile of the eyes' openings that is an open eye: people blink and look down.


@dataclass(frozen=True)
class Curves:
    """One value a frame, NaN where the frame has no face.

    Attributes:
        seconds: (T,) time of each frame; its number for photos.
        landmark_error: (T,) over the inter-ocular distance, see `measure.landmark_error`.
        trembling: (T,) second difference of the mesh's points in pixels at 512; NaN at the ends and for photos.
        closed: (T,) how far the eyes are shut: 0 as open as usual, 1 shut.
        mouth: (T,) distance of the lips' inner edges over the height of the face.
        yaw: (T,) degrees from the camera's direction, positive to the subject's left.
        pitch: (T,) degrees, positive down.
    """

    seconds: NDArray[np.float64]
    landmark_error: NDArray[np.float64]
    trembling: NDArray[np.float64]
    closed: NDArray[np.float64]
    mouth: NDArray[np.float64]
    yaw: NDArray[np.float64]
    pitch: NDArray[np.float64]

    @property
    def blinks(self) -> int:
        """How often the eyes go from open to shut; frames without a face end no blink."""
        shut = self.closed[np.isfinite(self.closed)] > CLOSED
        return int((shut[1:] & ~shut[:-1]).sum())


@torch.no_grad()
def measure_curves(sequence: TrackedSequence, head: Head, embedding: LandmarkEmbedding) -> Curves:
    """The curves of a sequence that has landmarks."""
    assert sequence.landmarks is not None
    count = len(sequence)
    valid = (sequence.is_valid & torch.isfinite(sequence.landmarks[:, 0, 0])).numpy()
    found = sequence.landmarks.double().numpy()
    fitted = fitted_landmarks(sequence, head, embedding, torch.arange(count)).double()
    inner = (embedding.weights > INNER_WEIGHT).numpy()
    apart = np.linalg.norm(fitted.numpy() - found[:, embedding.indices.numpy()], axis=-1)[:, inner].mean(1)
    error = apart / np.linalg.norm(found[:, 468] - found[:, 473], axis=-1)
    trembling = np.full(count, np.nan)
    if sequence.kind == "video" and count > 2:
        still = (fitted - sequence.intrinsics[:, None, :2, 2]) * (512 / sequence.height)
        trembling[1:-1] = (still[2:] - 2 * still[1:-1] + still[:-2]).norm(dim=-1).mean(1).numpy()
    motion = sequence.motion
    body = rotation_matrix_from_axis_angle(motion.global_rotation)
    turned = sequence.camera_from_world[:, :3, :3] @ body @ rotation_matrix_from_axis_angle(motion.neck_rotation)
    ahead = turned[..., 2].double().numpy()  # The face's direction; the camera looks along +z, y points down.
    opening = _lengths(found, _LIDS).mean(1) / _lengths(found, _CORNERS).mean(1)
    usual = np.percentile(opening[valid], _USUALLY_OPEN) if valid.any() else np.nan
    times = np.arange(count, dtype=np.float64)

    def seen(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(valid, values, np.nan)

    return Curves(
        seconds=times / sequence.frame_rate if sequence.frame_rate > 0 else times,
        landmark_error=seen(error),
        trembling=seen(trembling),
        closed=seen(np.clip(1 - opening / usual, 0, 1)),
        mouth=seen(_lengths(found, (_LIPS,))[:, 0] / _lengths(found, (_FACE,))[:, 0]),
        yaw=seen(np.degrees(np.arctan2(ahead[:, 0], -ahead[:, 2]))),
        pitch=seen(np.degrees(np.arcsin(np.clip(ahead[:, 1], -1, 1)))),
    )


def _lengths(points: NDArray[np.float64], pairs: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    """(T, 478, 2) -> (T, P) distances."""
    return np.stack([np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in pairs], 1)


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _GAP = 1000, 120, 64, 16, 34, 46
_INK, _GREY, _PALE, _RED = (30, 34, 40), (120, 126, 134), (228, 231, 235), (214, 69, 65)


def write_curves(curves: Curves, folder: Path) -> Path:
    """Draw the curves into the folder as curves.png."""
    path = folder / CURVES_FILE
    with write_atomically(path) as temporary:
        draw_curves(curves).save(temporary, format="PNG")
    return path


def draw_curves(curves: Curves) -> Image.Image:
    """One picture, a panel a curve, all over the same time; red where a frame has no face."""
    panels = [
        ("Landmark error (of the eyes' distance)", curves.landmark_error, 0.0, 0.06, (38, 110, 190)),
        ("Trembling (pixels at 512)", curves.trembling, 0.0, 4.0, (196, 120, 20)),
        ("Eyes shut (0 open, 1 shut)", curves.closed, 0.0, 1.0, (110, 80, 170)),
        ("Mouth open (of the face's height)", curves.mouth, 0.0, 0.15, (190, 60, 100)),
        ("Head turned (degrees, up: to the person's left)", curves.yaw, -40.0, 40.0, (30, 140, 90)),
    ]
    image = Image.new("RGB", (_WIDTH, _TOP + len(panels) * (_HEIGHT + _GAP)), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    missing = ~np.isfinite(curves.yaw)
    for row, (title, values, low, high, colour) in enumerate(panels):
        known = values[np.isfinite(values)]
        if len(known):
            high = max(high, float(np.abs(known).max()))
            low = -high if low < 0 else low
        _panel(draw, _TOP + row * (_HEIGHT + _GAP), title, curves.seconds, values, (low, high), colour, missing)
    return image


def _panel(
    draw: ImageDraw.ImageDraw,
    top: int,
    title: str,
    seconds: NDArray[np.float64],
    values: NDArray[np.float64],
    limits: tuple[float, float],
    colour: tuple[int, int, int],
    missing: NDArray[np.bool_],
) -> None:
    width, bottom = _WIDTH - _LEFT - _RIGHT, top + _HEIGHT
    last = max(float(seconds[-1]), 1e-9)
    x = _LEFT + seconds / last * width
    low, high = limits
    small, large = _font(11), _font(14)
    draw.text((_LEFT, top - 22), title, fill=_INK, font=large)
    for k in np.flatnonzero(missing).tolist():
        draw.line([(x[k], top), (x[k], bottom)], fill=(250, 224, 222), width=max(1, round(width / len(x)) + 1))
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * _HEIGHT
        draw.line([(_LEFT, y), (_LEFT + width, y)], fill=_PALE)
        draw.text((_LEFT - 8, y), f"{low + part * (high - low):.3g}", fill=_GREY, font=small, anchor="rm")
    step = _time_step(last)
    for mark in range(int(last / step) + 1):
        time = mark * step
        at = _LEFT + time / last * width
        draw.line([(at, bottom), (at, bottom + 4)], fill=_GREY)
        draw.text((at, bottom + 5), f"{time:g} s", fill=_GREY, font=small, anchor="ma")
    heights = bottom - (values - low) / max(high - low, 1e-9) * _HEIGHT
    known = np.isfinite(values)
    for k in range(len(x) - 1):
        if known[k] and known[k + 1]:
            draw.line([(x[k], heights[k]), (x[k + 1], heights[k + 1])], fill=colour, width=2)
    if missing.any():
        draw.text((_LEFT + width, top - 20), "red: no face", fill=_RED, font=small, anchor="ra")


def _time_step(last: float) -> float:
    """A round step that gives at most a dozen marks."""
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300):
        if last / step <= 12:
            return step
    return 600.0


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font; before 10.1 it has one size only."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()
