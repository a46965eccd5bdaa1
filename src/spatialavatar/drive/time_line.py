"""From the times of rows to a constant frame rate: order, gaps, and frames at equal steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.drive.frame_rate import HIGHEST, LOWEST, STANDARD, USUAL, checked_rate, shown_rate, standard_rate
from spatialavatar.drive.time_codes import DAY, Stamps, read_stamps
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion

MOST_FRAMES = 1_000_000
"""Rows of a table, and frames after its gaps are filled: 4.6 hours at 60 frames/s, 0.3 GB of weights and angles."""
ASSUMED_RATE = 30.0
"""Frames per second where nothing tells."""

_GAP = 1.5
"""Steps between rows, over the usual one, from which a row is missing."""
_ROUNDING = 1e-6
"""Relative; times of day in doubles are good to 1e-9 of a step."""
_WHOLE = 0.01
"""Frames of a clock; stamps that are off by a whole frame, up to this, have a row missing."""
LONGEST_BRIDGED = 1.0
"""Seconds; longer gaps are no longer a movement of which frames were lost, so the face holds still in them."""
LONGEST_HELD = 10.0
"""Seconds; longer gaps are cut to this: a recording that was paused."""
_MOVES_OVER = 0.2
"""Seconds in which a face that was held moves on: about as fast as a face changes its expression."""
_OUT_OF_ORDER = 1.0
"""Seconds; rows may come this late and are put in order. A longer step back is another take."""


@dataclass(frozen=True)
class TimeLine:
    """How rows become frames at equal steps.

    frame_rate: Frames per second.
    rows: (K,) which row stands at each moment; the same one may stand at two.
    moments: (K,) when, in frames from the first, ascending; None where row k is frame k.
    notes: What was found and done.
    assumed: Whether the frame rate is a guess.
    """

    frame_rate: float
    rows: NDArray[np.int64]
    moments: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    assumed: bool = False


def time_line(
    cells: Sequence[str] | None,
    unit: str | None,
    rows: int,
    frame_rate: float | None,
    where: str | os.PathLike[str],
) -> TimeLine:
    """The time line of a table.

    Args:
        cells: (T) its time stamps; None where it has none.
        unit: Theirs, where their title names it.
        rows: T.
        frame_rate: Frames per second that win over the stamps; rows are then taken at equal steps.
        where: The file.

    Raises:
        UserError: The rate is impossible, or the stamps are.
    """
    if frame_rate is None:
        return _measured(cells, unit, rows, where)
    rate = checked_rate(frame_rate, "the frame rate given", where)
    try:
        own = _measured(cells, unit, rows, where)
    except UserError:  # impossible stamps are what a rate is given for
        own = None
    notes: tuple[str, ...] = ()
    if own is not None and not own.assumed and abs(own.frame_rate / rate - 1) > 0.01:
        notes = (f"its time stamps say {shown_rate(own.frame_rate)}; the {shown_rate(rate)} given were taken instead.",)
    return TimeLine(rate, np.arange(rows), notes=notes)


def in_equal_steps(motion: Motion, line: TimeLine) -> Motion:
    """(N) frames at equal steps of the rows of a motion: weights linearly, rotations by slerp."""
    chosen = motion[torch.from_numpy(line.rows)]
    if line.moments is None:
        return chosen
    wanted = np.arange(int(np.floor(line.moments[-1] + 0.5)) + 1).clip(max=line.moments[-1])

    def linear(values: Tensor) -> Tensor:
        assert line.moments is not None
        after = np.searchsorted(line.moments, wanted, side="right").clip(1, len(line.moments) - 1)
        start, end = line.moments[after - 1], line.moments[after]
        share = torch.from_numpy(((wanted - start) / (end - start)).astype(np.float32))[:, None]
        return torch.lerp(values[torch.from_numpy(after - 1)], values[torch.from_numpy(after)], share)

    def turned(rotations: Tensor) -> Tensor:
        from scipy.spatial.transform import Rotation, Slerp

        if not bool(rotations.any()):
            return torch.zeros(len(wanted), 3)
        between = Slerp(line.moments, Rotation.from_rotvec(rotations.double().numpy()))(wanted)
        return torch.from_numpy(between.as_rotvec()).float()

    return replace(
        motion,
        expression=linear(chosen.expression),
        global_rotation=turned(chosen.global_rotation),
        neck_rotation=turned(chosen.neck_rotation),
        jaw_rotation=turned(chosen.jaw_rotation),
        eyes_rotation=torch.cat([turned(eye) for eye in chosen.eyes_rotation.split(3, -1)], -1),
        translation=linear(chosen.translation),
        neck_translation=linear(chosen.neck_translation),
    )


def _measured(cells: Sequence[str] | None, unit: str | None, rows: int, where: str | os.PathLike[str]) -> TimeLine:
    """The time line that the stamps tell."""
    if cells is None:
        return _assumed("it has no time stamps", rows)
    if rows == 1:
        return _assumed("it has one row only", rows)
    stamps = read_stamps(cells, unit)
    if stamps is None:
        return _assumed("its time stamps cannot be understood", rows)
    even = _even_rate(stamps)
    if even is not None:
        notes = (stamps.note,) if stamps.note else ()
        return TimeLine(even, np.arange(rows), notes=notes, assumed=bool(notes))
    seconds, order, said = _ascending(stamps)
    if len(order) == 1:
        return _assumed("all its time stamps are the same", rows)
    line = _at_equal_steps(seconds, order, ([stamps.note] if stamps.note else []) + said, where)
    return replace(line, assumed=bool(stamps.note))


def _assumed(why: str, rows: int) -> TimeLine:
    note = f"{why}; {shown_rate(ASSUMED_RATE)} were assumed. Give the frame rate if that is wrong."
    return TimeLine(ASSUMED_RATE, np.arange(rows), notes=(note,), assumed=True)


def _unwrapped(stamps: Stamps) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which stamps can be read, and their times with midnight passed."""
    known = np.flatnonzero(np.isfinite(stamps.seconds))
    seconds = stamps.seconds[known]
    if stamps.wraps:
        seconds = seconds + DAY * np.concatenate([[0], np.cumsum(np.diff(seconds) < -DAY / 2)])
    return known, seconds


def _even_rate(stamps: Stamps) -> float | None:
    """The rate of rows at equal steps under a clock that counts whole frames of another length; None for no such rows.

    As 24 rows a second in a clock of 30: their numbers skip one in five, and none is missing. Each stamp is then the
    one before its row, by less than a frame of the clock; where a row is missing they are off by a whole one.
    """
    known, seconds = _unwrapped(stamps)
    if not stamps.tick or len(known) < len(stamps.seconds):
        return None
    count = np.arange(len(seconds))
    spread = {rate: float(np.ptp(seconds - count / rate)) for rate in STANDARD}
    best = min(STANDARD, key=lambda rate: spread[rate])
    return best if spread[best] < (1 - _WHOLE) * stamps.tick else None


def _ascending(stamps: Stamps) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str]]:
    """Times that only grow, from zero, the row of each, and what was done for it."""
    notes: list[str] = []
    known, seconds = _unwrapped(stamps)
    order = np.arange(len(stamps.seconds))
    if len(known) < len(order):
        unread = _counted(len(order) - len(known), "time stamp")
        notes.append(f"{unread} cannot be read; the times of their neighbours were taken to set them.")
        seconds = np.interp(order, known, seconds)
    seconds = _spread_repeated(seconds)
    forward = np.diff(seconds)[np.diff(seconds) > 0]
    step = float(np.median(forward)) if len(forward) else 1 / ASSUMED_RATE
    # A row that came late goes to its place; from a long step back on, another part of the recording follows.
    jumps = np.diff(seconds) < -_OUT_OF_ORDER
    if jumps.any():
        shift = np.where(jumps, step - np.diff(seconds), 0.0)
        seconds = seconds + np.concatenate([[0.0], np.cumsum(shift)])
        first = _counted(int(np.flatnonzero(jumps)[0]) + 1, "row")
        times = _counted(int(jumps.sum()), "time")
        notes.append(f"its time stamps step back {times}, first after {first}; the parts follow one another.")
    late = int((np.diff(seconds) < 0).sum())
    if late:
        order = np.argsort(seconds, kind="stable")
        seconds = seconds[order]
        notes.append(f"{_counted(late, 'row')} came late; all were put in the order of their time stamps.")
    fresh = np.concatenate([[True], np.diff(seconds) > 0])
    if not fresh.all():
        repeated = _counted(int((~fresh).sum()), "row")
        notes.append(f"left out: {repeated} with the time stamp of the row before.")
    return seconds[fresh] - seconds[fresh][0], order[fresh], notes


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("s" if number != 1 else "")


def _spread_repeated(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that share a stamp because the clock is slower than they come, spread over its step.

    Only where most stamps stand for several rows, as 60 rows a second do under a clock that counts 30.
    """
    starts = np.flatnonzero(np.concatenate([[True], np.diff(seconds) != 0]))
    lengths = np.diff(np.append(starts, len(seconds)))
    if len(starts) < 2 or np.median(lengths) < 2:
        return seconds
    steps = np.diff(seconds[starts])
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    within = np.arange(len(seconds)) - np.repeat(starts, lengths)
    return seconds + step * within / np.repeat(np.maximum(lengths, np.median(lengths)), lengths)


def _at_equal_steps(
    seconds: NDArray[np.float64], rows: NDArray[np.int64], notes: list[str], where: str | os.PathLike[str]
) -> TimeLine:
    steps = np.diff(seconds)
    regular = steps <= _GAP * np.median(steps) * (1 + _ROUNDING)
    measured = 1 / float(steps[regular].mean())
    if not LOWEST <= measured <= HIGHEST:
        raise UserError(
            f"its time stamps say {measured:.6g} frames/s; expected {LOWEST:g} to {HIGHEST:g}.",
            where=where,
            hint="Give the frame rate: --frame-rate 60, for example.",
        )
    rate = standard_rate(measured, int(regular.sum()) + 1)
    if not USUAL[0] <= rate <= USUAL[1]:
        notes.append(f"its time stamps say {shown_rate(rate)}, which is unusual. Give the frame rate if that is wrong.")
    if np.abs(seconds * rate - np.arange(len(seconds))).max() < 0.5:
        return TimeLine(rate, rows, notes=tuple(notes))
    seconds, rows, held = _with_gaps_held(seconds, rows)
    moments = seconds * rate
    frames = int(np.floor(moments[-1] + 0.5)) + 1
    if frames > MOST_FRAMES:
        raise UserError(
            f"its time stamps reach over {seconds[-1]:,.0f} s, {frames:,} frames; up to {MOST_FRAMES:,} are read.",
            where=where,
        )
    missing = int((~regular).sum())
    what = f"have {_counted(missing, 'gap')}" if missing else "are uneven"
    notes.append(
        f"its time stamps {what}: {len(steps) + 1:,} rows became {frames:,} frames, {shown_rate(rate)}, by "
        "interpolation."
    )
    return TimeLine(rate, rows, moments, (*notes, *held))


def _with_gaps_held(
    seconds: NDArray[np.float64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str]]:
    """The same with a still face in long gaps, and the longest ones cut."""
    notes: list[str] = []
    steps = np.diff(seconds)
    # Where rows are that rare anyway, a usual step is no gap.
    long = steps > max(LONGEST_BRIDGED, _GAP * float(np.median(steps)))
    if not long.any():
        return seconds, rows, notes
    cut = np.maximum(steps - LONGEST_HELD, 0.0)
    seconds = np.concatenate([[0.0], np.cumsum(steps - cut)])
    notes.append(f"the face holds still in {_counted(int(long.sum()), 'gap')} of more than {LONGEST_BRIDGED:g} s.")
    if cut.any():
        notes.append(f"gaps were cut to {LONGEST_HELD:g} s: {cut.sum():,.1f} s were left out.")
    # The row before a gap stands until shortly before the next one.
    places = np.flatnonzero(long)
    seconds = np.insert(seconds, places + 1, seconds[places + 1] - _MOVES_OVER)
    return seconds, np.insert(rows, places + 1, rows[places]), notes
