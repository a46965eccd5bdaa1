"""Time stamps -> a constant rate, on stamps alone and in files."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spatialavatar.sequence.video import probe_video, read_video
from spatialavatar.sequence.video_time import LONGEST_HOLD, Clock, Timeline, count_positions, find_clock
from tests.sequence.recordings import counted, moved, numbers, write


def constant(rate: float, count: int, quantum: float = 0.0) -> NDArray[np.float64]:
    stamps = np.arange(count) / rate
    return np.round(stamps / quantum) * quantum if quantum else stamps


@pytest.mark.parametrize("rate", [1, 10, 24000 / 1001, 25, 30000 / 1001, 30, 60, 120, 240])
@pytest.mark.parametrize("quantum", [0.0, 1e-3, 1 / 90000])
def test_constant_rates_are_found_and_yield_each_frame_once(rate: float, quantum: float) -> None:
    stamps = constant(rate, 600, quantum) + 1.4
    clock = find_clock(stamps)
    # A quantum off at either end of the 599 steps, at most.
    assert clock.rate == pytest.approx(rate, rel=1e-9 + 2 * quantum * rate / 599)
    assert clock.trusted and not clock.assumed
    assert count_positions(stamps, clock) == (600, ())


def test_an_announced_rate_is_taken_exactly_where_it_counts_the_same_frames() -> None:
    stamps = constant(30000 / 1001, 300, 1e-3)
    assert find_clock(stamps, [0.0, 1000.0, 30.0, 30000 / 1001]).rate == 30.0  # 0.3 frames apart in 10 seconds
    stamps = constant(30000 / 1001, 3000, 1e-3)
    assert find_clock(stamps, [30.0, 30000 / 1001]).rate == 30000 / 1001
    assert find_clock(stamps, [1000.0, 3.9]).rate == pytest.approx(30000 / 1001, rel=1e-5)


def test_jitter_does_not_change_the_rate() -> None:
    noise = np.random.default_rng(0)
    stamps = np.cumsum(np.r_[0, noise.uniform(0.028, 0.038, 299)])
    clock = find_clock(stamps, [1000.0])
    assert clock.rate == pytest.approx(299 / stamps[-1], rel=0.01)
    assert abs(count_positions(stamps, clock)[0] - 300) <= 2


def test_left_out_doubled_and_burst_frames_do_not_change_the_rate() -> None:
    whole = constant(30, 300)
    assert find_clock(np.delete(whole, [5, 90, 91, 200])).rate == pytest.approx(30)
    assert find_clock(np.sort(np.r_[whole, whole[10:40]])).rate == pytest.approx(30)
    # Film in broadcast video: steps of 2 and 3 fields in turn.
    assert find_clock(np.cumsum(np.tile([2, 3], 100)) / 59.94).rate == pytest.approx(59.94 / 2.5)
    # Three at once, ten times a second.
    bursts = np.concatenate([np.arange(3) * 1e-3 + 0.1 * k for k in range(60)])
    assert find_clock(bursts).rate == pytest.approx(30, rel=0.02)


def test_pauses_and_leaps_are_left_out_and_named() -> None:
    for leap in (20.0, 3600.0, -3600.0, -1.0):
        stamps = constant(30, 90)
        stamps[60:] += leap
        clock = find_clock(stamps)
        assert clock.rate == pytest.approx(30)
        count, (jump,) = count_positions(stamps, clock)
        assert count == 90
        assert jump.time == pytest.approx(59 / 30) and jump.seconds == pytest.approx(leap)


def test_one_wrong_stamp_costs_nothing_else() -> None:
    for wrong in (3600.0, -50.0):
        stamps = constant(30, 90)
        stamps[40] += wrong
        count, jumps = count_positions(stamps, find_clock(stamps))
        assert count == 90 and len(jumps) == 2


def test_a_short_hole_is_filled_and_nothing_yields_more_than_stated() -> None:
    stamps = np.delete(constant(30, 90), slice(40, 60))
    assert count_positions(stamps, find_clock(stamps)) == (90, ())
    noise = np.random.default_rng(1)
    for _ in range(50):
        stamps = np.cumsum(noise.exponential(0.03, 60) * 10.0 ** noise.integers(-2, 5, 60))
        clock = find_clock(stamps)
        assert count_positions(stamps, clock)[0] <= LONGEST_HOLD * 60


def test_useless_stamps_are_not_used() -> None:
    assert find_clock(np.zeros(0), []) == Clock(25.0, trusted=False, assumed=True)
    assert find_clock(np.zeros(50), [12.0]) == Clock(12.0, trusted=False, assumed=True)
    # Each second's thirty frames carry the second's stamp.
    clock = find_clock(np.floor(constant(30, 301)))
    assert not clock.trusted and clock.rate == pytest.approx(30, rel=0.01)
    assert find_clock(np.arange(100) * 1e-6).assumed
    assert find_clock(np.array([4.0]), [24.0]) == Clock(24.0)


def test_frames_without_a_stamp_follow_at_one_step() -> None:
    timeline = Timeline(Clock(10.0))
    stamps = [5.0, None, None, 5.3, None]
    assert [timeline.place(stamp)[1] for stamp in stamps] == [0, 1, 2, 3, 4]
    assert timeline.guessed == 3


def test_lost_frames_leave_no_gap() -> None:
    timeline = Timeline(Clock(10.0))
    assert [timeline.place(0.0)[1], timeline.place(0.1)[1], timeline.place(6.0, lost=58)[1]] == [0, 1, 2]
    assert not timeline.jumps and timeline.place(6.1) == (pytest.approx(6.1), 3)


def test_a_browsers_recording_without_a_rate(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    times = np.cumsum(np.r_[0, noise.integers(28, 39, 59)])
    path = write(tmp_path / "a.webm", [counted(k) for k in range(60)], times.tolist(), codec="libvpx", rate=1000)
    info = probe_video(path)
    assert info.frame_rate == pytest.approx(59 / times[-1] * 1000, rel=0.02)
    notes: list[str] = []
    frames = list(read_video(path, warn=notes.append))
    assert abs(len(frames) - 60) <= 2 and info.frames == len(frames)
    assert notes == []


def test_a_pause_in_a_file(tmp_path: Path) -> None:
    times = [round(k * 1000 / 30) + (20_000 if k >= 40 else 0) for k in range(60)]
    path = write(tmp_path / "a.mp4", [counted(k) for k in range(60)], times)
    info = probe_video(path)
    assert info.frame_rate == pytest.approx(30, rel=1e-3) and info.frames == 60
    notes: list[str] = []
    frames = list(read_video(path, warn=notes.append))
    assert numbers(frames) == list(range(60))
    assert len(notes) == 1 and "leap by 20.0 s at 1.3 s" in notes[0]


def test_a_leap_of_an_hour_in_a_file(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mkv", [counted(k) for k in range(60)], rate=30)
    path = moved(whole, tmp_path / "b.mkv", lambda number: 3_600_000 if number >= 40 else 0)
    assert probe_video(path).frames == 60
    notes: list[str] = []
    assert numbers(read_video(path, warn=notes.append)) == list(range(60))
    assert len(notes) == 1 and "leap by 1.00 hours at 1.3 s" in notes[0]


def test_recordings_joined_end_to_end_go_on(tmp_path: Path) -> None:
    first = write(tmp_path / "a.ts", [counted(k) for k in range(30)])
    second = write(tmp_path / "b.ts", [counted(k) for k in range(30, 60)])
    path = tmp_path / "c.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    notes: list[str] = []
    # A transport stream's decoder gives the last frame of a part twice or not at all where the parts meet.
    found = numbers(read_video(path, warn=notes.append))
    assert len(found) == pytest.approx(60, abs=1) and found == sorted(found)
    assert probe_video(path).frame_rate == pytest.approx(25)
    assert any("leap by -" in note for note in notes)


def test_a_clock_that_wraps(tmp_path: Path) -> None:
    # 33 bits at 90 kHz are 95,443.7 seconds; the 20 frames lie half a second about it.
    whole = write(tmp_path / "a.ts", [counted(k) for k in range(20)])
    path = moved(whole, tmp_path / "b.ts", lambda number: 95_442_000)
    assert numbers(read_video(path)) == list(range(20))


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.avi", "libx264"), ("a.wmv", "wmv2")])
def test_containers_without_display_stamps(tmp_path: Path, name: str, codec: str) -> None:
    options = {"bf": "2"} if codec == "libx264" else {"qscale": "2"}
    path = write(tmp_path / name, [counted(k) for k in range(40)], codec=codec, options=options)
    info = probe_video(path)
    assert info.frame_rate == pytest.approx(25) and not info.rate_is_assumed
    notes: list[str] = []
    assert numbers(read_video(path, warn=notes.append)) == list(range(40))
    assert notes == []


def test_a_bare_stream_has_an_assumed_rate_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.m4v", [counted(k) for k in range(20)], codec="mpeg4", container_format="m4v", rate=10)
    notes: list[str] = []
    assert numbers(read_video(path, warn=notes.append)) == list(range(20))
    info = probe_video(path)
    assert info.frames == 20
    assert not info.rate_is_assumed or any("assumed" in note for note in notes)


def test_what_players_do_not_show_is_not_read(tmp_path: Path) -> None:
    """An edit list begins at the fifth frame, as where a phone trims a video without encoding it again."""
    whole = write(tmp_path / "a.mp4", [counted(k) for k in range(20)])
    path = moved(whole, tmp_path / "b.mp4", lambda number: -200, options={"avoid_negative_ts": "disabled"})
    notes: list[str] = []
    frames = list(read_video(path, warn=notes.append))
    assert numbers(frames) == list(range(5, 20)) and frames[0].time == 0
    assert probe_video(path).frames == 15
    assert notes == []


def test_a_late_start_is_the_same_frames(tmp_path: Path) -> None:
    images = [counted(k % 60) for k in range(300)]
    for name, extra in (("a.mp4", {"bf": "2"}), ("a.mkv", {}), ("a.ts", {})):
        path = write(tmp_path / name, images, options={"g": "30", **extra})
        whole = list(read_video(path))
        late = list(read_video(path, start=8.0))
        assert [frame.index for frame in late] == list(range(200, 300))
        assert numbers(late) == numbers(whole[200:])
        assert [frame.time for frame in late] == pytest.approx([frame.time for frame in whole[200:]])


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    image = counted(5, 32, 32)
    peaks = []
    for count in (100, 1600):
        path = write(tmp_path / f"{count}.mp4", [image] * count)
        tracemalloc.start()
        assert sum(1 for _ in read_video(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Time stamps as int64, their copies as seconds and their differences: measured 60 bytes a frame.
    assert peaks[1] - peaks[0] < 1500 * 180
