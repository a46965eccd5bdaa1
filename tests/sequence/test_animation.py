"""Animated WebP as a video: every picture, at its own time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.sequence.animation import playable
from spatialavatar.sequence.video import probe_video, read_video, write_video


def animated(path: Path, durations: list[int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 255, (30, 44, 3), np.uint8) for _ in durations]
    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, lossless=True)
    return pictures


def test_every_picture_at_its_time(tmp_path: Path) -> None:
    pictures = animated(tmp_path / "a.webp", [40] * 6)
    with playable(tmp_path / "a.webp") as file:
        assert probe_video(file).frame_rate == pytest.approx(25)
        frames = list(read_video(file))
        folder = file.parent
    assert [frame.time for frame in frames] == pytest.approx([0.04 * k for k in range(6)])
    assert all(np.array_equal(frame.image, picture) for frame, picture in zip(frames, pictures, strict=True))
    assert not folder.exists()


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    images = [Image.new("RGBA", (20, 20), (40 * k, 0, 0, 0 if k == 1 else 255)) for k in range(3)]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=100, lossless=True)
    with playable(tmp_path / "a.webp") as file:
        colours = [frame.image[5, 5].tolist() for frame in read_video(file)]
    assert colours == [[0, 0, 0], [255, 255, 255], [80, 0, 0]]


def test_other_videos_are_read_as_they_are(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [np.zeros((32, 32, 3), np.uint8)] * 3, 25.0)
    with playable(tmp_path / "v.mp4") as file:
        assert file == tmp_path / "v.mp4"


def test_a_damaged_animation_is_one_sentence(tmp_path: Path) -> None:
    animated(tmp_path / "a.webp", [40] * 6)
    data = (tmp_path / "a.webp").read_bytes()
    (tmp_path / "cut.webp").write_bytes(data[:200])
    with pytest.raises(UserError, match=r"cut\.webp: this animation is damaged"), playable(tmp_path / "cut.webp"):
        pass
