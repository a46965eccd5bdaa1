"""Results as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .cells import BANDS_SHOWN, Cell, by_person, error_shares, mean_over_people, noise_of_mean, seed_noise, value
from .differences import Difference, differences
from .modes import STEPS

HEADINGS = {
    "psnr": ("PSNR, dB", 2),
    "psnr_head": ("PSNR above the chin, dB", 2),
    "psnr_face": ("PSNR of the face, dB", 2),
    "ssim": ("SSIM", 3),
    "lpips": ("LPIPS", 3),
    "silhouette_iou": ("mesh: silhouette IoU", 3),
    "landmarks_mm": ("mesh: landmarks, mm", 2),
}

PARTS = {
    "error_filmed": "filmed surface",
    "error_unfilmed": "unfilmed surface",
    "error_other": "hair and clothes",
    "error_background": "beside the person",
}


def by_band(cells: Sequence[Cell], kind: str, mode: str = "tracked") -> str:
    """A line for each figure, a column for each band; with the standard deviation over seeds, where there are some."""
    bands = [band for band in BANDS_SHOWN if any(_is(cell, kind, mode, band) for cell in cells)]
    lines = [_line([f"{kind}, {mode}", *bands]), _line(["---"] * (1 + len(bands)))]
    for figure, (heading, decimals) in HEADINGS.items():
        values = [by_person(cells, figure, input=kind, mode=mode, band=band) for band in bands]
        if any(values):
            lines.append(_line([heading, *(_with_noise(each, decimals) for each in values)]))
    shares = [error_shares(cells, input=kind, mode=mode, band=band) for band in bands]
    for name, heading in PARTS.items():
        lines.append(_line([f"share of the squared error: {heading}", *(_number(each[name], 2) for each in shares)]))
    return "\n".join(lines)


def causes(cells: Sequence[Cell], kind: str, figure: str = "psnr_head") -> str:
    """A line for each mode: what the avatar scores with one more thing from the truth than in the line before."""
    bands = [band for band in BANDS_SHOWN if any(_is(cell, kind, "tracked", band) for cell in cells)]
    lines = [_line([f"{kind}, {HEADINGS[figure][0]}", *bands]), _line(["---"] * (1 + len(bands)))]
    names = ("as tracked", "+ true place and turn of the head", "+ true expression and body", "+ true shape")
    for mode, name in zip(STEPS, names, strict=True):
        found = [value(cells, figure, input=kind, mode=mode, band=band) for band in bands]
        lines.append(_line([name, *(_number(each, 2) for each in found)]))
    return "\n".join(lines)


def against(
    first: Sequence[Cell], rows: Sequence[tuple[str, Sequence[Cell]]], kind: str, figure: str = "psnr_head"
) -> str:
    """A line for each result: its difference to the first, band by band; bold where it is above the noise."""
    bands = [band for band in BANDS_SHOWN if any(_is(cell, kind, "tracked", band) for cell in first)]
    lines = [_line([f"{kind}, {HEADINGS[figure][0]}", *bands]), _line(["---"] * (1 + len(bands)))]
    lines.append(
        _line(["the first", *(_number(value(first, figure, input=kind, mode="tracked", band=b), 2) for b in bands)])
    )
    for name, cells in rows:
        found = {
            each.band: each
            for each in differences(first, cells, figure)
            if each.input == kind and each.mode == "tracked"
        }
        if found:
            people = max(each.people for each in found.values())
            lines.append(_line([f"{name} ({people} people)", *(_difference(found.get(band)) for band in bands)]))
    return "\n".join(lines)


def _difference(each: Difference | None) -> str:
    if each is None:
        return "–"
    text = f"{each.mean:+.2f} ± {each.half_width:.2f}" if not math.isnan(each.half_width) else f"{each.mean:+.2f}"
    return f"**{text}**" if each.above_noise else text


def _is(cell: Cell, kind: str, mode: str, band: str) -> bool:
    return (cell["input"], cell["mode"], cell["band"]) == (kind, mode, band)


def _with_noise(values: dict[str, list[float]], decimals: int) -> str:
    noise = noise_of_mean(values)
    text = _number(mean_over_people(values), decimals)
    return text if math.isnan(noise) else f"{text} ± {noise:.{decimals}f}"


def noise_line(cells: Sequence[Cell], kind: str, figure: str = "psnr_head") -> str:
    """What one avatar's score does with another seed, by band."""
    parts = []
    for band in BANDS_SHOWN:
        noise = seed_noise(by_person(cells, figure, input=kind, mode="tracked", band=band))
        if not math.isnan(noise):
            parts.append(f"{band} {noise:.3f}")
    return ", ".join(parts) or "one seed: not known"


def _number(value: float, decimals: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{decimals}f}"


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
