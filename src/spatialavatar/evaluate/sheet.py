"""The contact sheet: worst, median and best frames, each as target, prediction and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from spatialavatar.evaluate.pictures import Pictures, Pixels
from spatialavatar.evaluate.score import LOWER_IS_BETTER, Scores

SIDE = 256
_ROWS = (("worst", 0.0), ("median", 0.5), ("best", 1.0))
_PER_ROW = 3
_LABEL = 16


def contact_sheet(clips: Sequence[tuple[Pictures, Scores]], metric: str = "psnr") -> Pixels | None:
    """(H, W, 3) uint8: three rows of three frames, ranked by a metric over all clips; None without a single value."""
    ranked = _ranked([scores for _, scores in clips], metric)
    if not ranked:
        return None
    rows = []
    for label, place in _ROWS:
        centre = place * (len(ranked) - 1)
        first = int(np.clip(round(centre - (_PER_ROW - 1) / 2), 0, max(0, len(ranked) - _PER_ROW)))
        tiles = [
            _tile(*clips[clip], frame, f"{label}: {metric} {value:.4g}")
            for value, clip, frame in ranked[first : first + _PER_ROW]
        ]
        tiles += [np.full_like(tiles[0], 255)] * (_PER_ROW - len(tiles))
        rows.append(np.concatenate(tiles, 1))
    return np.concatenate(rows, 0)


def _ranked(clips: Sequence[Scores], metric: str) -> list[tuple[float, int, int]]:
    """(value, clip, frame), worst first."""
    found = [
        (float(value), clip, frame)
        for clip, scores in enumerate(clips)
        if metric in scores.columns
        for frame, value in enumerate(scores.columns[metric].values)
        if np.isfinite(value)
    ]
    return sorted(found, reverse=metric in LOWER_IS_BETTER)


def _tile(pictures: Pictures, scores: Scores, frame: int, label: str) -> Pixels:
    """(SIDE + label, 3 SIDE, 3): target, prediction, difference four times as strong."""
    pair = pictures.pair(frame)
    away = np.clip(4 * np.abs(pair.prediction.astype(np.int16) - pair.target).max(-1), 0, 255).astype(np.uint8)
    shown = [_small(picture) for picture in (pair.target, pair.prediction, np.repeat(away[..., None], 3, -1))]
    strip = Image.new("RGB", (3 * SIDE, _LABEL), "white")
    ImageDraw.Draw(strip).text((4, 2), f"{label}   {scores.clip} {scores.names[frame]}", fill="black")
    return np.concatenate([np.asarray(strip), np.concatenate(shown, 1)], 0)


def _small(picture: NDArray[np.uint8]) -> Pixels:
    """(SIDE, SIDE, 3), proportions kept."""
    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return np.asarray(canvas)
