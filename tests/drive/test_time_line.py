"""Time stamps of every kind -> frames at equal steps."""

import math

import numpy as np
import pytest
import torch

from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.drive.time_codes import read_stamps, time_column
from spatialavatar.drive.time_line import LONGEST_HELD, TimeLine, in_equal_steps, time_line
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle

NTSC = 1000 / 1001


def code(seconds: float, clock: int = 60, fractions: bool = True) -> str:
    """HH:MM:SS:FF, with thousandths of a frame or without."""
    thousandths = round(seconds * clock * 1000)
    frames, rest = divmod(thousandths, 1000)
    whole, frame = divmod(frames, clock)
    text = f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{frame:02d}"
    return f"{text}.{rest:03d}" if fractions else text


def drop_frame_code(number: int, clock: int = 30, dropped: int = 2, mark: str = ":") -> str:
    """The label of frame `number`: at every minute but each tenth, the first numbers are left out."""
    tens, rest = divmod(number, 600 * clock - 9 * dropped)
    number += 9 * dropped * tens
    if rest >= 60 * clock:
        number += dropped * ((rest - 60 * clock) // (60 * clock - dropped) + 1)
    whole, frame = divmod(number, clock)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{frame:02d}"


def line_of(cells: list[str], unit: str | None = None, frame_rate: float | None = None) -> TimeLine:
    return time_line(cells, unit, len(cells), frame_rate, "take.csv")


def frames_of(line: TimeLine) -> int:
    return len(line.rows) if line.moments is None else math.floor(line.moments[-1] + 0.5) + 1


@pytest.mark.parametrize("clock", [24, 25, 30, 48, 50, 60, 72, 100, 120])
@pytest.mark.parametrize("rate", [10, 12, 15, 24, 25, 30, 50, 60, 120])
def test_rows_of_any_rate_in_a_clock_of_any_rate(rate: int, clock: int) -> None:
    line = line_of([code(47_584 + index / rate, clock) for index in range(2 * rate + 1)])
    assert line.frame_rate == pytest.approx(rate, rel=1e-12) and line.moments is None and line.notes == ()


@pytest.mark.parametrize(
    ("rate", "clock"),
    [(60, 30), (120, 30), (50, 25), (24, 60), (30, 60), (20, 60), (24, 30), (25, 30), (50, 30), (50, 60), (48, 60)],
)
def test_whole_frame_numbers_repeat_or_skip(rate: int, clock: int) -> None:
    cells = [code(math.floor((5 + index / rate) * clock + 1e-6) / clock, clock, False) for index in range(3 * rate)]
    line = line_of(cells)
    assert line.frame_rate == rate and frames_of(line) == 3 * rate and line.notes == ()


def test_the_app_counts_on_in_fractions_of_a_frame() -> None:
    # As in its takes: 30 rows a second in the clock of 60, a little less than two frames apart.
    cells = [code((47 * 60 + 47.169 + 1.9997 * index) / 60) for index in range(1500)]
    line = line_of(cells)
    assert line.frame_rate == 30.0 and frames_of(line) == 1500 and line.notes == ()
    # Over ten minutes that is no longer 30: two and a half frames less.
    long = line_of([code(1.9997 * index / 60) for index in range(18_000)])
    assert long.frame_rate == pytest.approx(60 / 1.9997, rel=1e-6)


@pytest.mark.parametrize(("clock", "dropped", "mark"), [(30, 2, ":"), (30, 2, ";"), (60, 4, ":"), (60, 4, ";")])
def test_drop_frame_codes_lose_no_frames(clock: int, dropped: int, mark: str) -> None:
    start = 60 * clock - 40
    cells = [drop_frame_code(start + index, clock, dropped, mark) for index in range(70 * clock)]
    assert not any(cell.endswith((f":01:00{mark}00", f":01:00{mark}01")) for cell in cells)
    line = line_of(cells)
    assert line.frame_rate == pytest.approx(clock * NTSC, rel=1e-9) and frames_of(line) == len(cells)
    assert line.moments is None, "no row is missing"


def test_codes_that_drop_nothing_are_no_drop_frame_codes() -> None:
    assert line_of([code(58 + index / 30, 30, False) for index in range(200)]).frame_rate == 30.0


@pytest.mark.parametrize(
    ("write", "unit"),
    [
        (lambda t: f"{t:.3f}", None),
        (lambda t: f"{t:.6f}".replace(".", ","), None),
        (lambda t: f"{1000 * t:.0f}", None),
        (lambda t: f"{1e6 * t:.0f}", None),
        (lambda t: f"{1e9 * t:.0f}", None),
        (lambda t: f"{1_700_000_000 + t:.3f}", None),
        (lambda t: f"{1_700_000_000_000 + 1000 * t:.0f}", None),
        (lambda t: f"{1000 * t:.1f}", "ms"),
        (lambda t: f"00:00:{t:06.3f}", None),
        (lambda t: f"00:{t:06.3f}", None),
        (lambda t: f"2026-03-01T12:59:{t:06.3f}Z", None),
        (lambda t: f"00:00:{int(t):02d}:{round(t % 1 * 1000):03d}", None),
    ],
)
def test_plain_times(write: object, unit: str | None) -> None:
    line = line_of([write(index / 30) for index in range(91)], unit)  # type: ignore[operator]
    assert line.frame_rate == 30.0 and frames_of(line) == 91 and line.notes == ()


@pytest.mark.parametrize(
    ("title", "unit"),
    [("Timecode", None), ("timeCode", None), ("timestamp_ms", "ms"), ("Time (s)", "s"), ("frame time", None)],
)
def test_titles_of_time_columns(title: str, unit: str | None) -> None:
    assert time_column(["JawOpen", title]) == (1, unit)
    assert time_column(["JawOpen", "frame", "timecodes of mine"]) is None


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_counter_is_no_time(step: int) -> None:
    line = line_of([str(step * index) for index in range(60)])
    assert line.frame_rate == 30.0 and "30 frames/s were assumed" in line.notes[0]


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["00:00:01:02"], "one row only"),
        (["soon", "later"], "cannot be understood"),
        (["00:00:01:02"] * 9, "all its time stamps are the same"),
        ([code(5 + index / 30) for index in range(20)], "do not tell how many frames their clock counts; 60"),
    ],
)
def test_what_is_assumed_is_said(cells: list[str], note: str) -> None:
    line = line_of(cells)
    assert line.frame_rate == 30.0 and note in line.notes[0] and "assumed" in line.notes[0]


def test_midnight_comes_once() -> None:
    line = line_of([code(86_399 + index / 60) for index in range(150)])
    assert line.frame_rate == 60.0 and frames_of(line) == 150 and line.notes == ()


def test_missing_rows_are_interpolated_where_they_are_missing() -> None:
    times = [index / 60 for index in range(90)] + [1.5 + index / 30 for index in range(46)]
    line = line_of([code(8 + time) for time in times])
    assert line.frame_rate == 60.0 and frames_of(line) == 181 and "45 gaps" in line.notes[0]
    motion = Motion.neutral(len(times), len(ARKIT_NAMES))
    motion.expression[:, 0] = torch.tensor(times) / 3
    motion.neck_rotation[:, 1] = torch.tensor(times)
    even = in_equal_steps(motion, line)
    assert len(even) == 181
    expected = torch.arange(181) / 60
    # Thousandths of a frame in the time code: 1/60,000 s.
    torch.testing.assert_close(even.expression[:, 0], expected / 3, atol=5e-5, rtol=0)
    torch.testing.assert_close(even.neck_rotation[:, 1], expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize("missing", [[57], [20, 57], list(range(30, 50)), list(range(0, 180, 7))])
def test_rows_missing_from_whole_frame_numbers_are_found(missing: list[int]) -> None:
    line = line_of([code(5 + index / 60, 60, False) for index in range(180) if index not in missing])
    assert line.frame_rate == 60.0 and frames_of(line) == 180 - (0 in missing)
    assert line.moments is not None and " gap" in line.notes[0]


def test_rotations_between_rows_are_halfway_on_the_sphere() -> None:
    motion = Motion.neutral(2, 1)
    motion.neck_rotation[:] = torch.tensor([[0.0, 1.2, 0.0], [0.9, 0.0, 0.0]])
    line = TimeLine(30.0, np.arange(2), np.array([0.0, 2.0]))
    start, middle, end = rotation_matrix_from_axis_angle(in_equal_steps(motion, line).neck_rotation)
    torch.testing.assert_close(start.mT @ middle, middle.mT @ end, atol=1e-6, rtol=0)


def test_a_long_gap_is_held_and_a_pause_cut() -> None:
    held = line_of([code(5 + index / 60 + 5 * (index > 100)) for index in range(200)])
    assert frames_of(held) == 200 + 5 * 60 and "holds still in 1 gap of more than 1 s" in " ".join(held.notes)
    motion = Motion.neutral(200, 1)
    motion.expression[:, 0] = torch.arange(200.0)
    weights = in_equal_steps(motion, held).expression[:, 0]
    assert float(weights[101 : 101 + 280].max()) == 100.0 and float(weights[401]) == pytest.approx(101, abs=0.01)
    cut = line_of([code(5 + index / 60 + 600 * (index > 100)) for index in range(200)])
    assert frames_of(cut) == 199 + LONGEST_HELD * 60 and "590.0 s were left out" in " ".join(cut.notes)


def test_rows_out_of_order_repeated_and_begun_again() -> None:
    cells = [code(5 + index / 60) for index in range(120)]
    late = [*cells[:10], cells[11], cells[10], *cells[12:]]
    line = line_of(late)
    assert list(line.rows[9:13]) == [9, 11, 10, 12] and "1 row came late" in line.notes[0]
    line = line_of([*cells[:50], *[cells[49]] * 3, *cells[50:]])
    assert frames_of(line) == 120 and "3 rows with the time stamp of the row before" in line.notes[0]
    line = line_of([code(50 + index / 60) for index in range(100)] + cells)
    assert frames_of(line) == 220 and "step back 1 time, first after 100 rows" in line.notes[0]


def test_stamps_that_cannot_be_read_lie_between_the_others() -> None:
    cells = [code(5 + index / 60) for index in range(120)]
    line = line_of([*cells[:40], "??", "", *cells[42:]])
    assert frames_of(line) == 120 and line.frame_rate == 60.0 and "2 time stamps cannot be read" in line.notes[0]


def test_a_given_rate_wins_and_says_so() -> None:
    cells = [code(5 + index / 30) for index in range(90)]
    line = line_of(cells, frame_rate=60.0)
    assert line.frame_rate == 60.0 and frames_of(line) == 90
    assert line.notes == ("its time stamps say 30 frames/s; the 60 frames/s given were taken instead.",)
    assert line_of(cells, frame_rate=30.0).notes == ()
    for rate in (0.0, -1.0, math.nan, math.inf, 1e6):
        with pytest.raises(UserError, match="the frame rate given"):
            line_of(cells, frame_rate=rate)


@pytest.mark.parametrize("step", [1e-5, 20.0])
def test_impossible_rates_are_refused(step: float) -> None:
    with pytest.raises(UserError, match=r"frames/s; expected 0\.1 to 1000"):
        line_of([f"{index * step:.6f}" for index in range(50)], "s")


def test_unusual_rates_are_said() -> None:
    line = line_of([f"00:00:{index:02d}:00.000" for index in range(50)])
    assert line.frame_rate == 1.0 and "unusual" in line.notes[0]


def test_time_stamps_may_not_ask_for_more_frames_than_there_can_be() -> None:
    cells = [f"{index // 2 * 9.9 + index % 2 * 0.001:.3f}" for index in range(400)]
    with pytest.raises(UserError, match="frames; up to 1,000,000 are read"):
        line_of(cells, "s")


def test_half_of_the_stamps_must_be_times() -> None:
    assert read_stamps(["0.1", "0.2", "x", "y", "z"], None) is None
