"""Damage costs its own frames, is counted in every container, and comes out the same for any number of threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spatialavatar.errors import UserError
from spatialavatar.sequence import video_packets
from spatialavatar.sequence.video import probe_video, read_video
from tests.sequence.recordings import counted, damaged, numbers, write

COUNT = 40
KINDS = [
    ("a.mp4", "libx264", {"g": "10"}),
    ("a.mkv", "libx264", {"g": "10"}),
    ("a.ts", "libx264", {"g": "10"}),
    ("a.avi", "mpeg4", {"qscale": "2", "g": "10"}),
    ("a.webm", "libvpx", {"cpu-used": "8", "g": "10"}),
    ("a.webm", "libvpx-vp9", {"cpu-used": "8", "deadline": "realtime", "g": "10"}),
    ("b.mkv", "mjpeg", {}),
]


def moving(number: int) -> np.ndarray:
    """A frame that no encoder skips: its number, and noise."""
    image = counted(number, 96, 96).copy()
    image[64:] = np.random.default_rng(number).integers(60, 190, (32, 96, 3))
    return image


def make(folder: Path, name: str, codec: str, options: dict[str, str]) -> Path:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    images = [moving(k) for k in range(COUNT)]
    return write(folder / f"whole_{name}", images, codec=codec, options=options, pixel_format=pixels)


# Noise passes for a frame of VP8, which checks nothing, and for the end of the frame before it in a transport stream.
@pytest.mark.parametrize(("name", "codec", "options"), [kind for kind in KINDS if kind[1:2] != ("libvpx",)])
@pytest.mark.parametrize("packet", [15, 20])
def test_a_packet_of_noise_costs_its_frames(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], packet: int
) -> None:
    path = damaged(make(tmp_path, name, codec, options), tmp_path / name, packet)
    notes: list[str] = []
    frames = list(read_video(path, warn=notes.append))
    found = numbers(frames)
    # At most what depends on the packet is missing or wrong: up to the next of the key frames, one in ten.
    assert found[:15] == list(range(15)) and found[-9:] == list(range(31, COUNT))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    if name == "a.ts":
        assert len(found) == COUNT
        assert notes == [
            f"1 frames of a.ts are missing (near second {packet / 25:.1f}; lost in transmission, or damaged): "
            "the one before is shown in their place."
        ]
        return
    assert COUNT - 10 <= len(found) < COUNT
    assert len(notes) == 1, notes
    assert f"{COUNT - len(found)} of {COUNT} frames" in notes[0]
    assert f"damage near second {packet / 25:.1f}" in notes[0]
    assert "truncated" not in notes[0]


def test_frames_that_follow_on_damage_are_counted(tmp_path: Path) -> None:
    options = {"g": "20", "sc_threshold": "0"}
    path = damaged(make(tmp_path, "a.mkv", "libx264", options), tmp_path / "a.mkv", 15)
    notes: list[str] = []
    assert len(list(read_video(path, warn=notes.append))) == COUNT - 1
    assert "1 of 40 frames" in notes[0] and "4 that follow, up to the next key frame, may be spoilt" in notes[0]


def test_what_a_transport_stream_lost(tmp_path: Path) -> None:
    path = make(tmp_path, "a.ts", "libx264", {"g": "10"})
    content = bytearray(path.read_bytes())
    # 50 packets of 188 bytes are lost, some four frames.
    middle = len(content) // 376 * 188
    del content[middle : middle + 50 * 188]
    path.write_bytes(content)
    notes: list[str] = []
    found = numbers(read_video(path, warn=notes.append))
    assert found[-9:] == list(range(31, COUNT))
    assert len(found) == COUNT and len(notes) == 1
    assert notes[0].startswith(f"{COUNT - len(set(found))} frames of whole_a.ts are missing (near second 0.8;")


@pytest.mark.parametrize(("name", "codec", "options"), KINDS)
@pytest.mark.parametrize("whole", [True, False])
def test_frames_are_the_same_for_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, options: dict[str, str], whole: bool
) -> None:
    path = make(tmp_path, name, codec, options)
    path = path if whole else damaged(path, tmp_path / name, 15, seed=3)
    seen = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(video_packets, "THREADS", threads)
        notes: list[str] = []
        frames = list(read_video(path, warn=notes.append))
        seen.append((np.stack([frame.image for frame in frames]), [frame.time for frame in frames], notes))
    assert all(np.array_equal(images, seen[0][0]) for images, _, _ in seen)
    assert all(rest == seen[0][1:] for _, *rest in map(list, seen) for rest in [tuple(rest)])


def test_hidden_frames_of_vp8_are_not_counted_as_lost(tmp_path: Path) -> None:
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "4", "arnr-maxframes": "7"}
    path = write(tmp_path / "a.webm", [moving(k) for k in range(COUNT)], codec="libvpx", options=options)
    notes: list[str] = []
    assert len(list(read_video(path, warn=notes.append))) == COUNT
    assert probe_video(path).frames == COUNT and notes == []


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {}), ("a.mov", {})])
def test_a_truncated_file_is_told_from_a_damaged_one(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    whole = write(
        tmp_path / f"whole_{name}",
        [moving(k % 256) for k in range(100)],
        container_options={"movflags": "faststart"} if name != "a.mkv" else {},
        options={"g": "10"},
    )
    content = whole.read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) * 6 // 10])
    notes: list[str] = []
    frames = list(read_video(path, warn=notes.append))
    assert 40 < len(frames) < 70 and numbers(frames) == list(range(len(frames)))
    assert any("ends early" in note and "truncated" in note for note in notes), notes
    assert not any("could not be decoded" in note for note in notes)


def test_nothing_but_damage_is_one_message(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", [moving(0)])
    path = damaged(whole, tmp_path / "a.mp4", 0)
    with pytest.raises(UserError, match="not one frame"):
        list(read_video(path))
    with pytest.raises(UserError, match="not one frame"):
        probe_video(path)


def test_frames_keep_their_numbers_where_that_is_asked_for(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mkv", [moving(k) for k in range(COUNT)], options={"g": "10"})
    found = numbers(read_video(damaged(whole, tmp_path / "a.mkv", 15), keep_count=True))
    assert found == [*range(15), 14, *range(16, COUNT)]


def test_damage_within_what_is_read_is_said_though_reading_stops(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", [moving(k) for k in range(COUNT)], options={"g": "10"})
    path = damaged(whole, tmp_path / "a.mp4", 15)
    notes: list[str] = []
    assert len(list(read_video(path, max_frames=25, warn=notes.append))) == 25
    assert len(notes) == 1 and "could not be decoded" in notes[0] and "early" not in notes[0]
    notes.clear()
    assert len(list(read_video(path, max_frames=10, warn=notes.append))) == 10 and not notes
