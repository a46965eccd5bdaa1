"""Videos in and out: round trips, the constant grid, and what is not a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spatialavatar.errors import UserError
from spatialavatar.sequence.video import probe_video, read_video, write_video
from tests.sequence.recordings import quadrants, write


def test_colours_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    frames = [quadrants(shade=10 * k) for k in range(5)]
    assert write_video(path, frames, 25.0, quality=4) == 5
    info = probe_video(path)
    assert (info.width, info.height, info.frames, info.rotation) == (96, 64, 5, 0)
    assert info.frame_rate == pytest.approx(25)
    read = list(read_video(path))
    assert [f.index for f in read] == [0, 1, 2, 3, 4]
    assert [f.time for f in read] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    for frame, truth in zip(read, frames, strict=True):
        # Away from the quarters' edges, where chroma is subsampled; 6 covers 8-bit limited-range rounding twice.
        inner = np.abs(frame.image.astype(int) - truth)[4:28, 4:44]
        assert inner.max() <= 6


def test_an_odd_size_loses_its_last_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [quadrants()[:63, :95]] * 2, 25.0)
    assert probe_video(path).width == 94 and probe_video(path).height == 62


def test_a_variable_frame_rate_becomes_constant(tmp_path: Path) -> None:
    path = tmp_path / "vfr.mp4"
    times = [0, 40, 80, 120, 320, 360, 400, 440, 480]
    write(path, [quadrants(shade=k) for k in range(len(times))], times)
    rate = probe_video(path).frame_rate
    assert rate == pytest.approx(25)
    frames = list(read_video(path))
    assert [f.index for f in frames] == list(range(len(frames)))
    # The picture on screen at each grid time, within half a grid step.
    for frame in frames:
        shown = frame.index / rate
        assert frame.time <= shown + 0.5 / rate + 1e-6
        later = [t / 1000 for t in times if t / 1000 > frame.time]
        assert not later or min(later) > shown - 0.5 / rate - 1e-6
    assert len(frames) == pytest.approx(0.48 * rate, abs=1.5)


def test_every_and_max_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [quadrants(shade=k) for k in range(10)], 25.0)
    assert [round(f.time / 0.04) for f in read_video(path, every=3)] == [0, 3, 6, 9]
    assert [f.index for f in read_video(path, every=3)] == [0, 1, 2, 3]
    assert len(list(read_video(path, max_frames=4))) == 4


@pytest.mark.parametrize("content", [b"", b"not a video at all", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2"])
def test_what_is_no_video_is_one_clear_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        probe_video(path)
    assert "bad.mp4" in str(caught.value) and caught.value.hint
    with pytest.raises(UserError):
        next(iter(read_video(path)))


def test_a_truncated_index_is_one_clear_message(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    write_video(whole, [quadrants()] * 5, 25.0)
    cut.write_bytes(whole.read_bytes()[:-600])  # The index stands at the end.
    with pytest.raises(UserError, match="cut off"):
        probe_video(cut)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        probe_video(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="folder"):
        probe_video(tmp_path)


def test_a_failure_leaves_no_half_written_video(tmp_path: Path) -> None:
    def frames():
        yield quadrants()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", frames(), 25.0)
    with pytest.raises(UserError, match="no frames"):
        write_video(tmp_path / "b.mp4", [], 25.0)
    with pytest.raises(UserError, match="one size"):
        write_video(tmp_path / "c.mp4", [quadrants(), quadrants(64, 64)], 25.0)
    with pytest.raises(UserError, match=r"\.mp4"):
        write_video(tmp_path / "d.txt", [quadrants()], 25.0)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="frame rate"):
            write_video(tmp_path / "e.mp4", [quadrants()], rate)
    with pytest.raises(UserError, match="two rows"):
        write_video(tmp_path / "f.mp4", [quadrants(1, 8)], 25.0)
    assert list(tmp_path.iterdir()) == []
