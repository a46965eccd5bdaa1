"""Geometry of frames: display matrices, pixels that are not square, sizes that change, interlaced pictures."""

from __future__ import annotations

import fractions
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from skimage import data

from spatialavatar.sequence.video import probe_video, read_video
from spatialavatar.sequence.video_frame import orientation_of
from tests.sequence.recordings import counted, numbers, quadrants, with_matrix, write

# What a matrix (a, b, c, d) does to a picture, by numpy: stored point (x, y) is shown at (a x + c y, b x + d y).
MATRICES = {
    (1, 0, 0, 1): lambda image: image,
    (-1, 0, 0, 1): lambda image: image[:, ::-1],
    (1, 0, 0, -1): lambda image: image[::-1],
    (-1, 0, 0, -1): lambda image: image[::-1, ::-1],
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),  # a phone held upright: clockwise
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (0, 1, 1, 0): lambda image: image.swapaxes(0, 1),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", list(MATRICES))
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_whole_display_matrix_is_applied(tmp_path: Path, matrix: tuple[int, int, int, int], suffix: str) -> None:
    stored = quadrants()
    path = with_matrix(write(tmp_path / f"a{suffix}", [stored] * 30), *matrix)
    expected = MATRICES[matrix](stored)
    info = probe_video(path)
    assert (info.height, info.width) == expected.shape[:2]
    # The same by mirroring, then turning counter-clockwise.
    assert np.array_equal(np.rot90(stored[:, ::-1] if info.mirrored else stored, info.rotation // 90), expected)
    frames = [frame.image for frame in read_video(path)]
    assert len(frames) == 30
    # The last, too: FFmpeg before 7 gives the matrix to the first frame only.
    for image in (frames[0], frames[-1]):
        assert image.shape == expected.shape
        height, width = image.shape[:2]
        for y in (height // 4, 3 * height // 4):
            for x in (width // 4, 3 * width // 4):
                assert np.abs(image[y, x].astype(int) - expected[y, x]).max() < 8


def test_a_jump_keeps_the_orientation(tmp_path: Path) -> None:
    images = [quadrants()] * 200
    path = with_matrix(write(tmp_path / "a.mp4", images, options={"g": "25"}), 0, 1, -1, 0)
    frame = next(iter(read_video(path, start=6.0)))
    assert frame.index == 150 and frame.image.shape == (96, 64, 3)


def test_matrices_with_scale_skew_and_nonsense() -> None:
    def pack(*values: float) -> bytes:
        return np.array([round(value * 65536) for value in values], np.int32).tobytes()

    orientation, exact = orientation_of(pack(0, 2, 0, -2, 0, 0, 0, 0, 1))
    assert orientation.turn == (False, 270) and exact
    orientation, exact = orientation_of(pack(0.9, 0.4, 0, -0.4, 0.9, 0, 0, 0, 1))
    assert orientation.turn == (False, 0) and not exact
    assert orientation_of(bytes(36))[0].turn == (False, 0)


def test_a_skewed_matrix_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [quadrants()] * 2)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 20] = np.array([58982, 26214, 0, -26214, 58982], ">i4").tobytes()
    path.write_bytes(content)
    notes: list[str] = []
    assert next(iter(read_video(path, max_frames=1, warn=notes.append))).image.shape == (64, 96, 3)
    assert len(list(read_video(path, warn=notes.append))) == 2
    assert any("another angle than a quarter turn" in note for note in notes)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(("stored", "aspect"), [((96, 128), (4, 3)), ((128, 96), (3, 4)), ((144, 128), (8, 9))])
def test_pixels_that_are_no_squares(
    tmp_path: Path, suffix: str, stored: tuple[int, int], aspect: tuple[int, int]
) -> None:
    ratio = fractions.Fraction(*aspect)
    shown = (round(stored[0] * ratio), stored[1]) if ratio > 1 else (stored[0], round(stored[1] / ratio))
    picture = np.ascontiguousarray(data.astronaut()[:256, 128:384])
    import PIL.Image

    truth = np.array(PIL.Image.fromarray(picture).resize(shown, PIL.Image.Resampling.BICUBIC)).astype(int)
    squeezed = np.array(PIL.Image.fromarray(picture).resize(stored, PIL.Image.Resampling.BICUBIC))
    path = write(tmp_path / f"a{suffix}", [squeezed] * 3, aspect=ratio)
    info = probe_video(path)
    assert (info.width, info.height) == shown
    image = next(iter(read_video(path))).image
    assert image.shape == (shown[1], shown[0], 3)
    # Squeezed and stretched again: soft, but in place. Shifted by one pixel it would be off by 9.
    assert np.abs(image.astype(int) - truth).mean() < 5


def test_turned_pixels_that_are_no_squares(tmp_path: Path) -> None:
    path = with_matrix(write(tmp_path / "a.mp4", [quadrants(72, 96)] * 2, aspect=fractions.Fraction(4, 3)), 0, 1, -1, 0)
    info = probe_video(path)
    assert (info.width, info.height) == (96, 96)
    image = next(iter(read_video(path))).image
    expected = np.rot90(quadrants(96, 96), -1)
    assert np.abs(image[24, 24].astype(int) - expected[24, 24]).max() < 8


@pytest.mark.parametrize(("aspect", "note"), [((404, 405), False), ((5, 1), True)])
def test_ratios_that_are_left_alone(tmp_path: Path, aspect: tuple[int, int], note: bool) -> None:
    path = write(tmp_path / "a.mkv", [quadrants()] * 2, aspect=fractions.Fraction(*aspect))
    notes: list[str] = []
    assert next(iter(read_video(path))).image.shape == (64, 96, 3)
    list(read_video(path, warn=notes.append))
    assert any("cannot be" in text for text in notes) == note


def test_a_size_that_changes(tmp_path: Path) -> None:
    parts = [(96, 64), (192, 128), (64, 96)]
    content = b""
    for number, (width, height) in enumerate(parts):
        part = write(tmp_path / f"{number}.ts", [counted(number + 1, width, height)] * 10)
        content += part.read_bytes()
    path = tmp_path / "all.ts"
    path.write_bytes(content)
    notes: list[str] = []
    frames = list(read_video(path, warn=notes.append))
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert len(frames) == pytest.approx(30, abs=2)
    assert sum("changes its size" in note for note in notes) >= 1
    assert numbers(frames[:18]) == [1] * 10 + [2] * 8
    # Another shape is not squeezed: bars to both sides, 43 of the 96 columns between them.
    columns = np.flatnonzero(frames[-1].image.max((0, 2)) > 30)
    assert columns[0] in range(25, 29) and columns[-1] in range(67, 71)


@pytest.mark.parametrize("size", [(95, 63), (33, 65)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write(tmp_path / "a.mkv", [quadrants(*size)] * 2, codec="ffv1", pixel_format="yuv444p", options={})
    image = next(iter(read_video(path))).image
    assert image.shape == (size[1], size[0], 3)
    assert np.abs(image[4, 4].astype(int) - quadrants(*size)[4, 4]).max() < 4


def test_interlaced_pictures_are_deinterlaced(tmp_path: Path) -> None:
    """A bright square that moves by 8 pixels between the fields of a frame: combed edges when shown as it is."""

    def field(number: int) -> Any:
        image = np.full((96, 128, 3), 40, np.uint8)
        left = 8 + 8 * number
        image[24:72, left : left + 32] = 200
        return image

    woven = []
    for number in range(4):
        frame = field(2 * number).copy()
        frame[1::2] = field(2 * number + 1)[1::2]
        woven.append(frame)
    path = write(
        tmp_path / "a.mpg", woven, codec="mpeg2video", options={"flags": "+ildct+ilme", "top": "1", "qscale": "2"}
    )
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    frames = list(read_video(path))
    assert len(frames) == 4

    def combing(image: Any) -> float:
        rows = image[30:66].astype(float).mean(2)
        return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).max(0).mean())

    assert combing(woven[1]) > 15
    for frame in frames[1:3]:
        assert combing(frame.image) < combing(woven[1]) / 5
