"""Rows of figures, a row a picture, brought together: a cell for each person, input, seed, mode and band of angles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from spatialavatar.evaluate.view_angles import BAND_NAMES

from .people import FRONT, OWN

Cell = dict[str, Any]
KEYS = ("person", "input", "seed", "mode", "band")
"""What tells a cell from the others of a result."""
FIGURES = ("psnr", "psnr_head", "psnr_face", "ssim", "lpips", "silhouette_iou", "landmarks_mm")
ERRORS = ("error_filmed", "error_unfilmed", "error_other", "error_background")
BANDS_SHOWN = (OWN, FRONT, *BAND_NAMES)


def cells_of(rows: Iterable[dict[str, Any]], **same: Any) -> list[Cell]:
    """The means of rows by mode and band. `same` is what all of them have in common: person, input, seed."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["mode"], row["band"]), []).append(row)
    cells = []
    for (mode, band), members in groups.items():
        cell: Cell = {**same, "mode": mode, "band": band, "pictures": len(members)}
        cell["angle"] = round(float(np.mean([row["angle"] for row in members])), 1)
        for name in (*FIGURES, *ERRORS):
            values = [row[name] for row in members if row.get(name) is not None]
            if values:
                cell[name] = float(np.mean(values))
        cells.append(cell)
    return cells


def value(cells: Iterable[Cell], figure: str = "psnr", **wanted: Any) -> float:
    """The mean over people of the mean over seeds of a figure, of the cells that have these entries; NaN for none."""
    return mean_over_people(by_person(cells, figure, **wanted))


def by_person(cells: Iterable[Cell], figure: str, **wanted: Any) -> dict[str, list[float]]:
    """Each person's values of a figure, one a seed."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        if figure in cell and all(cell[key] == entry for key, entry in wanted.items()):
            found.setdefault(cell["person"], []).append(cell[figure])
    return found


def mean_over_people(values: dict[str, list[float]]) -> float:
    return float(np.mean([np.mean(each) for each in values.values()])) if values else math.nan


def seed_noise(values: dict[str, list[float]]) -> float:
    """Standard deviation over seeds of one person's value, pooled over people; NaN where no person has two seeds."""
    squares, freedom = 0.0, 0
    for each in values.values():
        squares += float(np.square(np.asarray(each) - np.mean(each)).sum())
        freedom += len(each) - 1
    return math.sqrt(squares / freedom) if freedom > 0 else math.nan


def noise_of_mean(values: dict[str, list[float]]) -> float:
    """By how much `mean_over_people` would change, as a standard deviation, with other seeds and the same people."""
    noise = seed_noise(values)
    if not values or math.isnan(noise):
        return math.nan
    return noise * math.sqrt(sum(1 / len(each) for each in values.values())) / len(values)


def error_shares(cells: Sequence[Cell], **wanted: Any) -> dict[str, float]:
    """Share of the squared error of each part of the picture, see `scoring.PARTS`."""
    totals = {name: value(cells, name, **wanted) for name in ERRORS}
    whole = sum(totals.values())
    return {name: total / whole if whole > 0 else math.nan for name, total in totals.items()}
