"""Weights and angles as other programs write them: percent and degrees are converted where that is certain.

What is not certain is said, or refused where it cannot be a face: nothing is clamped or guessed in silence.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from spatialavatar.drive.arkit_names import ANGLES, EYE_ANGLES, HEAD_ANGLES
from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.errors import UserError

Columns = dict[str, NDArray[np.float64]]

ROUNDING = 1e-4
"""How far beyond 0 and 1 a weight may lie by the rounding of its digits, which is not worth a note."""
LARGEST_WEIGHT = 1.5
"""Weights may be extrapolated this far; they are clamped, and that is said."""
_LEAST_PERCENT = 5.0
"""A face whose largest weight of a whole take is 5 % would not move; no rig extrapolates five times over."""
_MOST_PERCENT = 150.0
"""Apps that scale up write up to this."""
_PERCENT_COLUMNS = 1 / 3
"""Share of the columns that move which must exceed `LARGEST_WEIGHT` for percent: one of many is a damaged column."""
_MOVES = 0.01
"""A column whose values stay below this does not move, in either unit."""

FARTHEST_TURN = math.radians(90.0)
"""How far a neck can turn the head, and the farthest at which a phone still sees the face."""
FARTHEST_GLANCE = math.radians(60.0)
"""How far eyes can turn: 45 to 55 degrees, and some tolerance of the trackers."""


def plausible_columns(
    columns: Mapping[str, NDArray[np.float64]],
    where: str | os.PathLike[str],
    row_name: Callable[[int], str],
) -> tuple[Columns, list[str]]:
    """Weights in 0..1 and angles in radians.

    Args:
        columns: (T,) finite values each, by `ARKIT_NAMES` and `ANGLES`.
        where: The file.
        row_name: How a row is called in messages, by its index: "row 7".

    Returns:
        The columns, and what was done to them, a sentence each.

    Raises:
        UserError: They are neither, with the row and column of the value that shows it.
    """
    weights = {name: value for name, value in columns.items() if name in ARKIT_NAMES}
    angles = {name: value for name, value in columns.items() if name in ANGLES}
    checked, notes = _weights(weights, where, row_name)
    turned, more = _angles(angles, where, row_name)
    return checked | turned, notes + more


def percent_scale(
    weights: Mapping[str, NDArray[np.float64]], where: str | os.PathLike[str], row_name: Callable[[int], str]
) -> tuple[float, list[str]]:
    """What to multiply weights with: 1, or 0.01 where they are percent.

    They are percent where they exceed `_LEAST_PERCENT` in a third of the columns that move; or where all are whole
    numbers and one is 2 or more.

    Raises:
        UserError: They are neither.
    """
    largest = max((float(value.max()) for value in weights.values()), default=0.0)
    smallest = min((float(value.min()) for value in weights.values()), default=0.0)
    scale, notes = 1.0, []
    if largest > LARGEST_WEIGHT:
        peaks = [float(np.abs(value).max()) for value in weights.values()]
        moving = [peak for peak in peaks if peak > _MOVES]
        many = sum(peak > LARGEST_WEIGHT for peak in moving) >= _PERCENT_COLUMNS * len(moving)
        whole = all(bool((value == np.round(value)).all()) for value in weights.values())
        if largest <= _MOST_PERCENT and ((many and largest > _LEAST_PERCENT) or (whole and largest >= 2)):
            scale = 0.01
            notes.append(f"its weights reach {largest:.4g} and were taken as percent.")
        elif largest > _LEAST_PERCENT:
            raise _refused(weights, np.positive, where, row_name)
        else:
            notes.append(
                f"its weights reach {largest:.4g}: too much for 0 to 1 and too little for percent; 0 to 1 taken."
            )
    if smallest * scale < -LARGEST_WEIGHT:
        raise _refused(weights, np.negative, where, row_name)
    return scale, notes


def degrees_scale(values: Mapping[str, NDArray[np.float64]], certain: float) -> float:
    """What to multiply angles with: 1 for radians, a degree where one of them is beyond `certain` radians."""
    largest = max((float(np.abs(value).max()) for value in values.values()), default=0.0)
    return math.radians(1.0) if largest > certain else 1.0


def _weights(
    weights: Mapping[str, NDArray[np.float64]], where: str | os.PathLike[str], row_name: Callable[[int], str]
) -> tuple[Columns, list[str]]:
    scale, notes = percent_scale(weights, where, row_name)
    scaled = {name: value * scale for name, value in weights.items()}
    beyond = sum(int(((value < -ROUNDING) | (value > 1 + ROUNDING)).sum()) for value in scaled.values())
    if beyond:
        count = sum(value.size for value in scaled.values())
        low, high = min(float(v.min()) for v in scaled.values()), max(float(v.max()) for v in scaled.values())
        notes.append(
            f"{beyond:,} of its {count:,} weights lie outside 0 to 1 (from {min(low, 0):.3g} to {max(high, 1):.3g}) "
            "and were clamped."
        )
    return {name: value.clip(0.0, 1.0) for name, value in scaled.items()}, notes


def _angles(
    angles: Mapping[str, NDArray[np.float64]], where: str | os.PathLike[str], row_name: Callable[[int], str]
) -> tuple[Columns, list[str]]:
    notes: list[str] = []
    largest = max((float(np.abs(value).max()) for value in angles.values()), default=0.0)
    if largest > 360.0:
        raise _refused(angles, np.abs, where, row_name, "an angle", "expected radians, or degrees up to 360")
    turned = {name: _around_zero(value, math.tau) for name, value in angles.items()}
    if any(turned[name] is not value for name, value in angles.items()):
        notes.append("its angles from 180 to 360 degrees were taken as negative ones.")
    scale = degrees_scale(turned, math.pi)
    if scale != 1.0:
        notes.append(f"its angles reach {largest:.4g} and were taken as degrees.")
        turned = {name: _around_zero(value, 360.0) * scale for name, value in angles.items()}
        if any(float(np.abs(value).max()) > math.pi + ROUNDING for value in turned.values()):
            raise _refused(angles, np.abs, where, row_name, "an angle", "expected radians, or degrees up to 180")
    for names, farthest, who in (
        (HEAD_ANGLES, FARTHEST_TURN, "the head turns"),
        ([name for pair in EYE_ANGLES for name in pair], FARTHEST_GLANCE, "the eyes turn"),
    ):
        far = max((float(np.abs(turned[name]).max()) for name in names if name in turned), default=0.0)
        if far > farthest:
            notes.append(
                f"{who} by up to {math.degrees(far):.0f} degrees, farther than "
                f"{'a neck' if names is HEAD_ANGLES else 'eyes'} can. Are its angles in another unit?"
            )
    return turned, notes


def _around_zero(values: NDArray[np.float64], turn: float) -> NDArray[np.float64]:
    """Angles written from 0 to a whole turn as those from minus half a turn to half of one.

    Only where that is certain: none is negative, and none lies in the half turn behind the head.
    """
    behind = (values > turn / 4) & (values < 3 * turn / 4)
    above = (values >= 3 * turn / 4) & (values <= turn)
    if values.min() < 0 or behind.any() or not above.any() or values.max() > turn:
        return values
    return np.where(above, values - turn, values)


def _refused(
    columns: Mapping[str, NDArray[np.float64]],
    size: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    where: str | os.PathLike[str],
    row_name: Callable[[int], str],
    what: str = "a weight",
    expected: str = "expected 0 to 1, or 0 to 100 in all of them",
) -> UserError:
    """The message for the value of the largest `size`, with its place."""
    name = max(columns, key=lambda name: float(size(columns[name]).max()))
    row = int(size(columns[name]).argmax())
    found = float(columns[name][row])
    return UserError(f"{row_name(row)}, column {name}: {found:.6g} is no value of {what}; {expected}.", where=where)
