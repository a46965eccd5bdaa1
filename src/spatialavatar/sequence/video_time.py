"""From the time stamps that a video stores to a constant frame rate, which everything downstream counts by.

Nothing here knows of files: stamps are seconds, in the order in which frames are shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LONGEST_HOLD = 30
"""Steps for which a frame stays on screen. A longer gap is a pause or a jump of the clock, and is left out; so a video
yields at most this many frames for each that is decoded. 30 steps are a second of an ordinary video."""

USUAL_RATE = 25.0
"""Frames per second where a file says nothing at all."""

_FASTEST, _SLOWEST = 1000.0, 1e-3
"""Frames per second that are believed. Browsers' recordings without a rate announce 1000, their clock's."""

_NEAR = 0.25
"""Share by which a step may differ from the median and still be one step, and not one with a frame left out."""

_LATE = 2.0
"""Steps that a stamp may lie before its predecessor's and be taken for a slip. More is a clock that was set back."""


_MOST_HOLES = 8
"""Places that are kept to be named."""


@dataclass(frozen=True)
class Clock:
    """How a video counts time.

    Attributes:
        rate: Frames per second of the constant grid.
        trusted: Whether stamps place the frames; otherwise they follow each other at equal steps.
        assumed: Whether the rate is a guess: the file has no usable stamps.
    """

    rate: float
    trusted: bool = True
    assumed: bool = False

    @property
    def step(self) -> float:
        """Seconds from frame to frame."""
        return 1.0 / self.rate


@dataclass(frozen=True)
class Jump:
    """A place where the clock leaps.

    Attributes:
        time: Seconds from the first frame to the last one before it.
        seconds: By how much; negative where it is set back.
    """

    time: float
    seconds: float


def find_clock(stamps: NDArray[np.float64], announced: Iterable[float] = ()) -> Clock:
    """The frame rate of stamps.

    The median of steps over two frames gives the step, whatever pauses, jumps, left-out and doubled frames there are;
    the time that steps near the median take together gives it exactly. A rate that the file announces is used in its
    place where both count the same frames to within a half.

    Args:
        stamps: (N,) seconds, in order of display.
        announced: Frames per second that the file's header claims, the most trustworthy first.
    """
    claims = [float(rate) for rate in announced if rate and _SLOWEST <= rate <= _FASTEST]
    claimed = claims[0] if claims else USUAL_RATE
    if len(stamps) < 2:
        return Clock(claimed, trusted=len(stamps) > 0, assumed=not claims)
    steps = np.diff(stamps)
    pairs = (stamps[2:] - stamps[:-2]) / 2 if len(stamps) > 2 else steps
    forward = pairs[(steps[1:] >= 0) & (steps[:-1] >= 0)] if len(stamps) > 2 else pairs
    middle = float(np.median(forward)) if len(forward) else 0.0
    if middle <= 0:
        # Most stamps repeat. What time there is in all still tells how fast the frames came.
        elapsed = float(stamps[-1] - stamps[0])
        rate = (len(stamps) - 1) / elapsed if elapsed > 0 else 0.0
        believed = _SLOWEST <= rate <= _FASTEST
        return Clock(rate if believed else claimed, trusted=False, assumed=not believed)
    moving = steps[(steps >= 0) & (steps <= LONGEST_HOLD * middle)]
    near = forward[np.abs(forward - middle) <= _NEAR * middle]
    step = float(near.mean()) if len(near) else middle
    overall = float(moving.mean()) if len(moving) else middle
    if overall * (1 + _NEAR) < step:
        step = overall  # Frames come in bursts: the median pair would leave out many of them.
    if not _SLOWEST <= 1 / step <= _FASTEST:
        return Clock(claimed, trusted=False, assumed=True)
    span = float(moving.sum())
    for rate in claims:
        if abs(rate - 1 / step) * span <= 0.5:
            return Clock(rate)
    return Clock(1 / step)


@dataclass
class Timeline:
    """Places frames, one after the other, on the grid of a clock.

    Attributes:
        clock: Step, and whether stamps are to be believed.
        origin: Stamp of the first frame; None until it is placed.
        close_up: Whether no position is left for frames that are lost.
        jumps: Pauses and leaps that were left out so far.
        guessed: Frames without a stamp, though the others have one.
        holes: Seconds from the first frame to those that stay on screen for more than one step.
        filled: Positions that they take beyond their own.
    """

    clock: Clock
    origin: float | None = None
    close_up: bool = True
    jumps: list[Jump] = field(default_factory=list)
    guessed: int = 0
    holes: list[float] = field(default_factory=list)
    filled: int = 0
    _shift: float = 0.0
    _time: float | None = None
    _position: int = -1
    _left_out: int = 0

    def place(self, stamp: float | None, lost: int = 0) -> tuple[float, int]:
        """The next frame's seconds from the first, without pauses and leaps, and its position on the grid.

        Positions never fall; two frames can share one. `lost` frames right before this one take no position, or with
        `close_up` off each its own.
        """
        step = self.clock.step
        if self.origin is None:
            self.origin = stamp or 0.0
        if self._time is None:
            time = 0.0 if stamp is None or not self.clock.trusted else stamp - self.origin - self._shift
        elif stamp is None or not self.clock.trusted:
            self.guessed += stamp is None and self.clock.trusted
            time = self._time + (1 + lost) * step
        else:
            time = stamp - self.origin - self._shift
            ahead = time - self._time
            expected = (1 + lost) * step
            if ahead < -_LATE * step or ahead - lost * step > LONGEST_HOLD * step:
                self.jumps.append(Jump(self._time, ahead - expected))
                self._shift += ahead - expected
                time = self._time + expected
            elif ahead < 0:
                time = self._time + step
        if self._time is not None and lost and self.close_up:
            self._left_out += min(lost, max(math.floor((time - self._time) / step + 0.5) - 1, 0))
        position = max(math.floor(time / step + 0.5) - self._left_out, self._position, 0)
        if self._time is not None and position > self._position + 1:
            self.filled += position - self._position - 1
            if len(self.holes) < _MOST_HOLES:
                self.holes.append(self._time)
        self._time, self._position = time, position
        return time, position


def count_positions(stamps: NDArray[np.float64], clock: Clock) -> tuple[int, tuple[Jump, ...]]:
    """How many grid positions frames with these stamps take, and where the clock leaps."""
    timeline = Timeline(clock)
    last = -1
    for stamp in stamps.tolist():
        last = timeline.place(stamp)[1]
    return last + 1, tuple(timeline.jumps)


def jumps_in_words(name: str, jumps: list[Jump]) -> str:
    """One sentence about pauses and leaps that were left out."""
    places = [f"{_seconds(jump.seconds)} at {jump.time:.1f} s" for jump in jumps[:5]]
    more = f" and at {len(jumps) - 5:,} more places" if len(jumps) > 5 else ""
    return (
        f"The time stamps of {name} leap by {', '.join(places)}{more} (a pause, or parts joined together): "
        "the frames before and after are taken as following each other."
    )


def _seconds(value: float) -> str:
    sign = "-" if value < 0 else ""
    value = abs(value)
    return f"{sign}{value:.1f} s" if value < 600 else f"{sign}{value / 3600:.2f} hours"
