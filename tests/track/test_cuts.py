"""Cuts: found, and nothing smoothed over them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np

from spatialavatar.sequence.video import write_video
from spatialavatar.track.crop import choose_crops
from spatialavatar.track.cuts import CutFinder, apart_in_time, nearest_of, shots
from spatialavatar.track.matte import median_of_three
from spatialavatar.track.observe import cut_warnings
from spatialavatar.track.tracker import fit_sequence, track
from tests.track.media import astronaut
from tests.track.synthetic import HASTY, synthetic


def found(images: list[np.ndarray]) -> list[int]:
    finder = CutFinder()
    return [k for k, image in enumerate(images) if finder.step(image)]


def test_a_cut_is_found_and_motion_is_none() -> None:
    face = astronaut()
    moving = [np.roll(face, 4 * k, axis=1) for k in range(12)]
    other = [np.roll(face[::-1, ::-1], 4 * k, axis=1) for k in range(12)]
    assert found(moving) == []
    assert found(moving + other) == [12]
    assert found(moving + other + moving) == [12, 24]
    noise = np.random.default_rng(0)
    assert found([noise.integers(0, 256, (90, 160, 3), np.uint8) for _ in range(10)]) == []


def test_a_lamp_that_is_dimmed_and_a_camera_that_shakes_are_no_cuts() -> None:
    face = astronaut()
    assert found([(face * (1 - 0.03 * k)).astype(np.uint8) for k in range(20)]) == []
    shifts = np.random.default_rng(0).integers(-40, 40, 30)
    assert found([np.roll(face, shift, axis=0) for shift in shifts]) == []


def test_shots_and_times() -> None:
    assert shots((), 5) == [(0, 5)] and shots((2, 4), 5) == [(0, 2), (2, 4), (4, 5)]
    times = apart_in_time(np.arange(5), (2, 4))
    assert (np.diff(times) == 1).tolist() == [True, False, True, False]
    assert cut_warnings((), 25.0, Path("a.mp4")) == []
    assert "a.mp4 is cut at 2.0 s, 4.0 s" in cut_warnings((50, 100), 25.0, Path("a.mp4"))[0]


def test_mattes_are_not_mixed_over_a_cut() -> None:
    frames = [np.full((2, 2), value, np.float32) for value in (0.1, 0.1, 0.1, 0.9, 0.8, 0.9)]
    assert [round(float(f[0, 0]), 1) for f in median_of_three(frames, (3,))] == [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]


def test_the_crop_jumps_with_the_cut() -> None:
    boxes = np.array([[100, 100, 200, 200]] * 20 + [[600, 100, 760, 260]] * 20, np.float64)
    cut = choose_crops(boxes, (1280, 720), 256, frame_rate=25.0, cuts=(20,))
    mixed = choose_crops(boxes, (1280, 720), 256, frame_rate=25.0)
    assert np.ptp(cut.corners[:20], 0).max() < 1 and np.ptp(cut.corners[20:], 0).max() < 1
    assert np.ptp(mixed.corners[:20], 0).max() > 50


def test_the_fit_is_not_smoothed_over_a_cut() -> None:
    """Two shots of one person who looks elsewhere in the second."""
    case = synthetic(8)
    order = np.array([0, 0, 0, 0, 7, 7, 7, 7])
    picked = {
        name: getattr(case.observations, name)[order]
        for name in ("landmarks", "contours", "corners", "scales", "image_sizes")
    }
    torsos = tuple(case.observations.torsos[k] for k in order)
    observations = replace(case.observations, torsos=torsos, **picked)
    config = replace(HASTY, smooth_turn=2e4, frame_steps=6)

    cut = fit_sequence(replace(observations, cuts=(4,)), case.head, config)
    turned = cut.motion.neck_rotation[:, 1].diff().abs()
    # Nothing moves within the shots and all of it between them, however dear a change of speed is.
    assert float(turned[3]) > 0.8 * float(turned.sum()) and float(turned[3]) > 0.2


def test_a_video_with_a_cut(tmp_path: Path) -> None:
    face = astronaut()[:320]
    smaller = np.roll(np.ascontiguousarray(face[:, ::-1]), 60, axis=1)
    video = tmp_path / "cut.mp4"
    write_video(video, [face] * 4 + [smaller] * 3, 25.0, quality=12)
    sequence = track(video, output=tmp_path / "cut.tracked", size=128, config=HASTY, photometric=False)
    assert bool(sequence.is_valid.all())
    report = (tmp_path / "cut.tracked/report.json").read_text()
    assert '"cuts": [' in report and "is cut at 0.2 s" in report and "The video is cut 1 time" in report


def test_nearest_frames_as_a_table_has_them() -> None:
    """Against the table of all distances, which 18,000 frames do not allow."""
    generator = np.random.default_rng(0)
    for count in (1, 2, 7, 300):
        for share in (0.02, 0.5, 1.0):
            some = np.flatnonzero(generator.random(count) < share)
            some = some if len(some) else np.array([count // 2])
            slow = some[np.abs(np.arange(count)[:, None] - some).argmin(1)]
            assert np.array_equal(nearest_of(some, count), slow)


def test_ten_minutes_take_memory_in_proportion_to_their_frames() -> None:
    count = 18_000
    some = np.flatnonzero(np.random.default_rng(1).random(count) < 0.9)
    tracemalloc.start()
    found = nearest_of(some, count)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == count
    assert peak < 20 * 8 * count  # Seven arrays of 8 bytes a frame are alive at once; the table took 2.3 GB.
