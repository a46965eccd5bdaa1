"""Time stamps as text -> seconds: time codes of any clock, times of day, seconds, and their thousandths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatialavatar.drive.frame_rate import USUAL

DAY = 86_400.0
_APPS_CLOCK = 60
"""Live Link Face's default: what a time code counts where nothing in the table tells."""
_CLOCKS = (60, 30, 24, 25, 50, 48, 120, 72, 90, 100, 240, 1000)
"""Frames in a second; 1000 for programs that write milliseconds in the place of frames. Earlier ones win a tie."""
_DROPPED_A_MINUTE = {30: 2, 60: 4}
"""Frame numbers that drop-frame time code leaves out at the start of every minute but each tenth."""

_NUMBER = re.compile(r"[+-]?\d{1,20}([.,]\d{0,20})?([eE][+-]?\d{1,2})?|\.\d{1,20}")
# A time of day, with a date and a zone around it where ISO 8601 is written.
_TIME = re.compile(r"(?:\d{4}-\d\d-\d\d[T ])?(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,12})?)(?:Z|[+-]\d\d:?\d\d)?")
_CODE = re.compile(r"(\d{1,4})[:;](\d{1,2})[:;](\d{1,2})([:;])(\d{1,4}(?:\.\d{1,9})?)")
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

_TIME_TITLES = {
    "timecode": None,
    **dict.fromkeys(("timestamp", "timestamps", "time", "frametime", "t"), None),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "times", "timesec", "timesecs", "timeseconds"), "s"),
    **dict.fromkeys(("timestampsec", "timestampseconds", "timeins", "timeinseconds"), "s"),
    **dict.fromkeys(("milliseconds", "ms", "timems", "timestampms", "timemillis", "timemilliseconds"), "ms"),
    **dict.fromkeys(("microseconds", "us", "timeus", "timestampus", "timemicroseconds"), "us"),
    **dict.fromkeys(("nanoseconds", "ns", "timens", "timestampns", "timenanoseconds"), "ns"),
}


@dataclass(frozen=True)
class Stamps:
    """seconds: (T,) when each row was; NaN where its stamp cannot be read.
    wraps: Whether they are times of day, which begin again at midnight.
    note: What was assumed in reading them; empty where they tell.
    tick: Seconds of a frame of their clock where they count whole frames, so that rows between come early; or 0.
    """

    seconds: NDArray[np.float64]
    wraps: bool
    note: str = ""
    tick: float = 0.0


def time_column(titles: Sequence[str]) -> tuple[int, str | None] | None:
    """Which column holds time stamps, and the unit that its title names; None where there is none."""
    plain = [re.sub(r"[\W_]+", "", title[:80]).lower() for title in titles]
    for wanted, unit in _TIME_TITLES.items():
        if wanted in plain:
            return plain.index(wanted), unit
    return None


def read_stamps(cells: Sequence[str], unit: str | None) -> Stamps | None:
    """Read a column of time stamps.

    Args:
        cells: (T) as they stand in the file.
        unit: "s", "ms", "us" or "ns" where the title says so; otherwise numbers tell by their steps.

    Returns:
        None where fewer than half of them are times, or their unit cannot be told.
    """
    kinds = Counter(_kind(cell) for cell in cells)
    del kinds[""]
    if not kinds or 2 * max(kinds.values()) < len(cells):
        return None
    kind = max(kinds, key=lambda name: kinds[name])
    known = [cell.strip() if _kind(cell) == kind else None for cell in cells]
    if kind == "code":
        return _of_codes(known)
    seconds = np.array([np.nan if cell is None else _SECONDS_OF[kind](cell) for cell in known])
    if kind == "time":
        return Stamps(seconds, wraps=True)
    unit = unit or _unit_of(seconds)
    return None if unit is None else Stamps(seconds * _UNITS[unit], wraps=False)


def _kind(cell: str) -> str:
    cell = cell.strip()
    if len(cell) > 60:
        return ""
    if _CODE.fullmatch(cell):
        return "code"
    if _TIME.fullmatch(cell):
        return "time"
    return "number" if _NUMBER.fullmatch(cell) else ""


def _seconds_of_time(cell: str) -> float:
    match = _TIME.fullmatch(cell)
    assert match is not None
    hours, minutes, seconds = match.groups()
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds.replace(",", "."))


_SECONDS_OF = {"time": _seconds_of_time, "number": lambda cell: float(cell.replace(",", "."))}


def _unit_of(values: NDArray[np.float64]) -> str | None:
    """The unit in which the usual step of these numbers is that of a usual frame rate; None for a mere count."""
    steps = np.abs(np.diff(values[np.isfinite(values)]))
    steps = steps[steps > 0]
    if not len(steps):
        return None
    # The ranges of the units do not overlap: 5 to 250 frames/s are steps of 4 to 200 of a thousandth.
    rate = 1 / float(np.median(steps))
    slack = 1 + 1e-6
    fits = [unit for unit, size in _UNITS.items() if USUAL[0] / slack <= rate / size <= USUAL[1] * slack]
    if fits:
        return fits[0]
    # One to five frames a second with a fraction: no counter has one.
    return "s" if 1 < rate < USUAL[0] else None


def _of_codes(cells: Sequence[str | None]) -> Stamps:
    """Time codes HH:MM:SS:FF, with a fraction of a frame after a point where there is one."""
    labels = np.full(len(cells), np.nan)
    frames = np.full(len(cells), np.nan)
    semicolons = 0
    for index, cell in enumerate(cells):
        match = None if cell is None else _CODE.fullmatch(cell)
        if match is None:
            continue
        hours, minutes, seconds, mark, number = match.groups()
        labels[index] = 3600 * int(hours) + 60 * int(minutes) + int(seconds)
        frames[index] = float(number)
        semicolons += mark == ";"
    known = np.isfinite(labels)
    clock, sure = _clock(labels[known], frames[known])
    note = ""
    if not sure:
        note = (
            f"its time codes stay within one second and do not tell how many frames their clock counts; {clock} were "
            "assumed, as Live Link Face's does. Give the frame rate if that is wrong."
        )
    dropped = _DROPPED_A_MINUTE.get(clock, 0)
    whole = bool((frames[known] == np.floor(frames[known])).all())
    if dropped and (2 * semicolons > known.sum() or _skips(labels[known], frames[known], clock, dropped)):
        begun = labels // 60
        numbers = labels * clock + frames - dropped * (begun - begun // 10)
        frame = 1001 / (1000 * clock)
        return Stamps(numbers * frame, True, note, frame if whole else 0.0)
    return Stamps(labels + frames / clock, True, note, 1 / clock if whole else 0.0)


def _clock(labels: NDArray[np.float64], frames: NDArray[np.float64]) -> tuple[int, bool]:
    """How many frames the clock of time codes counts in a second, and whether they tell.

    Where a second ends, the next row must follow as closely as rows do within a second; of the clocks that can show
    the largest frame number, the one for which it does is taken.
    """
    possible = [clock for clock in _CLOCKS if clock > frames.max()]
    usual = next((clock for clock in possible if clock >= _APPS_CLOCK), 1000)
    if not possible:
        return 1000, False
    seconds = np.diff(labels)
    within = np.abs(np.diff(frames)[seconds == 0])
    within = within[within > 0]
    # Longer breaks are gaps and tell nothing.
    crossing = (seconds > 0) & (seconds <= 2)
    if not crossing.any():
        return usual, False
    if not len(within):
        # At most one row a second: where frame numbers do not change, no clock changes the time between rows.
        return usual, bool(np.ptp(frames) == 0)
    step = float(np.median(within))

    def surprise(clock: int) -> float:
        across = seconds[crossing] * clock + np.diff(frames)[crossing]
        return float(np.median(np.abs(across / step - 1)))

    # The least by a margin: fractions of a frame differ in their last digit.
    best = min(surprise(clock) for clock in possible)
    return next(clock for clock in possible if surprise(clock) <= best + 1e-3), True


def _skips(labels: NDArray[np.float64], frames: NDArray[np.float64], clock: int, dropped: int) -> bool:
    """Whether the numbers that drop-frame time code leaves out are left out wherever a minute begins."""
    leaves_out = (labels % 60 == 0) & ((labels // 60) % 10 != 0)
    before, after = slice(None, -1), slice(1, None)
    begins = leaves_out[after] & (labels[after] - labels[before] == 1) & (frames[before] >= clock - 1)
    first = (frames[after] >= dropped) & (frames[after] < dropped + 1)
    return bool(begins.any() and first[begins].all() and not (leaves_out & (frames < dropped)).any())
