"""Colours: range, matrix, gamut and HDR, against conversions written down here from the standards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from spatialavatar.sequence.video import probe_video, read_video
from spatialavatar.sequence.video_colour import ColourKind, SrgbConverter, to_srgb

# BT.2087 (BT.709 -> BT.2020) and SMPTE EG 432-1 by Bruce Lindbloom's method, for linear light.
BT2020_FROM_BT709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
P3_FROM_BT709 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}


def astronaut() -> NDArray[np.uint8]:
    return np.ascontiguousarray(data.astronaut()[:128, 150:278])


def linear(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    values = image / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def hlg(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2100, table 5: light of a display of 1000 cd/m2 -> code values."""
    light = nits / 1000
    luminance = np.maximum(light @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)[..., None]
    scene = light * luminance ** (1 / 1.2 - 1)
    log = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


def pq(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2100, table 4, the inverse of the EOTF."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def encoded(kind: str, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A picture as R'G'B' code values of another colour space, paper white being 203 cd/m2 (BT.2408)."""
    light = linear(image)
    if kind == "p3":
        return srgb(light @ P3_FROM_BT709.T)
    wide = light @ BT2020_FROM_BT709.T
    return {"hlg": hlg, "pq": pq}[kind](203 * wide) if kind != "bt2020" else srgb(wide)


def write_planes(
    path: Path, values: NDArray[np.float64], pixel_format: str, tags: tuple[int, int, int, int], codec: str = "ffv1"
) -> Path:
    """R'G'B' in [0, 1] -> Y'CbCr with the tags' matrix and range, losslessly; chroma as the format reduces it.

    Args:
        tags: Primaries, transfer, matrix, range (2 is full), in the numbers of ITU-T H.273.
    """
    depth = 10 if "10" in pixel_format else 8
    scale = 1 << (depth - 8)
    red, blue = LUMA[tags[2]]
    luma = values @ np.array([red, 1 - red - blue, blue])
    chroma = [(values[..., 2] - luma) / (2 - 2 * blue), (values[..., 0] - luma) / (2 - 2 * red)]
    if tags[3] == 2:
        top = 256 * scale - 1
        planes = [luma * top, *(128 * scale + part * top for part in chroma)]
    else:
        planes = [16 * scale + 219 * scale * luma, *((128 + 224 * part) * scale for part in chroma)]
    height, width = luma.shape
    if "420" in pixel_format:
        planes[1:] = [plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3)) for plane in planes[1:]]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        for number in range(2):
            frame = av.VideoFrame(width, height, pixel_format)
            for plane, wanted in zip(frame.planes, planes, strict=True):
                kind = np.uint16 if depth > 8 else np.uint8
                rows = np.frombuffer(plane, kind).reshape(plane.height, -1)  # type: ignore[call-overload]
                rows[:, : wanted.shape[1]] = np.rint(wanted)
            frame.colorspace, frame.color_range = tags[2], tags[3]
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("value_range", [1, 2])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv444p10le"])
def test_matrices_and_ranges(tmp_path: Path, matrix: int, value_range: int, pixel_format: str) -> None:
    image = astronaut()
    path = write_planes(tmp_path / "a.mkv", image / 255, pixel_format, (1, 1, matrix, value_range))
    frame = next(iter(read_video(path)))
    # 8-bit Y'CbCr rounds by half a level of 219, and BT.2020's matrix stretches chroma by 1.9: 2.1 levels measured.
    assert np.abs(frame.image.astype(int) - image).max() <= 3
    assert np.abs(frame.image.astype(int) - image).mean() < 1


@pytest.mark.parametrize(
    ("kind", "tags"),
    [("hlg", (9, 18, 9, 1)), ("pq", (9, 16, 9, 1)), ("bt2020", (9, 14, 9, 1)), ("p3", (12, 1, 1, 1))],
)
def test_hdr_and_wide_gamuts_become_srgb(tmp_path: Path, kind: str, tags: tuple[int, int, int, int]) -> None:
    image = astronaut()
    path = write_planes(tmp_path / "a.mkv", encoded(kind, image), "yuv444p10le", tags)
    info = probe_video(path)
    expected = {"hlg": ("hlg", "bt2020"), "pq": ("pq", "bt2020"), "bt2020": ("sdr", "bt2020"), "p3": ("sdr", "p3")}
    assert (info.transfer, info.primaries) == expected[kind]
    frame = next(iter(read_video(path)))
    off = np.abs(frame.image.astype(int) - image)
    # Dark saturated colours have few code values in 10 bits of a wider gamut.
    assert np.percentile(off, 99) <= 4 and off.mean() < 1.2


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv420p"])
@pytest.mark.parametrize(
    ("kind", "tags"), [("hlg", (9, 18, 9, 1)), ("pq", (9, 16, 9, 1)), ("bt2020", (9, 14, 9, 1)), ("p3", (12, 1, 1, 2))]
)
def test_the_same_with_reduced_chroma(
    tmp_path: Path, kind: str, tags: tuple[int, int, int, int], pixel_format: str
) -> None:
    image = np.repeat(np.repeat(astronaut()[::16, ::16], 16, 0), 16, 1)
    path = write_planes(tmp_path / "a.mkv", encoded(kind, image), pixel_format, tags)
    off = np.abs(next(iter(read_video(path))).image.astype(int) - image)[8::16, 8::16]
    # Even squares, in their middles; 8 bits of PQ are coarse steps of light, most of all in dark colours.
    assert np.percentile(off, 95) <= (5 if pixel_format == "yuv420p10le" else 10)
    assert off.mean() < (1.5 if pixel_format == "yuv420p10le" else 3)


def test_reference_white_and_what_is_brighter() -> None:
    for kind, code in (("hlg", hlg), ("pq", pq)):
        nits = np.array([20.3, 101.5, 182.7, 203.0, 300.0, 1000.0])
        grey = to_srgb(np.repeat(code(np.repeat(nits[:, None], 3, 1))[:, :1], 3, 1), ColourKind(kind, "bt2020"))[:, 0]
        # Up to nine tenths of paper white nothing changes; white is 4 levels darker; all is in order and below 1.
        assert grey[:3] == pytest.approx(srgb(nits[:3] / 203), abs=2e-3)
        assert 250.5 < 255 * grey[3] < 251.5
        assert np.all(np.diff(grey) > 0) and grey[-1] <= 1


def test_tables_are_the_formulae() -> None:
    values = np.random.default_rng(0).integers(0, 1 << 16, (64, 64, 3)).astype(np.uint16)
    values[:2], values[2:4], values[4, :, 0] = 0, 65535, 0
    for kind in (("hlg", "bt2020"), ("pq", "bt2020"), ("sdr", "bt2020"), ("sdr", "p3"), ("hlg", "bt709")):
        colour = ColourKind(*kind)  # type: ignore[arg-type]
        # Rounding to a level, and a table's step in the darkest parts: 0.503 measured.
        assert (
            np.abs(SrgbConverter(colour)(np.moveaxis(values, -1, 0)) - 255 * to_srgb(values / 65535, colour)).max()
            < 0.52
        )


def test_hue_stays_in_highlights_and_out_of_gamut_colours() -> None:
    bright = hlg(np.array([[900.0, 450.0, 450.0]]))
    red, green, blue = linear(255 * to_srgb(bright, ColourKind("hlg", "bt2020"))[0])
    assert red > 0.95 and red / green > 1.9 and green == pytest.approx(blue, rel=0.4)
    outside = to_srgb(np.array([[0.0, 0.6, 0.0]]), ColourKind("sdr", "bt2020"))[0]
    assert outside[1] > 0.5 and outside[0] == 0 and outside.min() >= 0


@pytest.mark.parametrize(
    "pixel_format",
    ["gbrp", "gray", "bgra", "yuva420p", "yuv420p10le", "yuv422p", "nv12", "yuv420p", "yuvj420p", "rgb24"],
)
def test_pixel_formats(tmp_path: Path, pixel_format: str) -> None:
    image = np.repeat(np.repeat(astronaut()[::16, ::16], 16, 0), 16, 1)
    image[..., :] = image.mean(2, keepdims=True) if pixel_format == "gray" else image
    codec = {"gbrp": "utvideo", "nv12": "rawvideo", "rgb24": "png", "yuvj420p": "mjpeg", "yuv420p": "ffv1"}.get(
        pixel_format, "ffv1"
    )
    path = tmp_path / ("a.avi" if codec in ("png", "mjpeg", "utvideo") else "a.nut" if codec == "rawvideo" else "a.mkv")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 128, pixel_format
        if codec == "mjpeg":
            stream.options = {"qmin": "1", "qmax": "1"}
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = list(read_video(path))
    assert len(frames) == 3
    # The middles of the squares, since chroma is reduced; FFmpeg's fast conversion is off by up to 2 on either side.
    off = np.abs(frames[0].image.astype(int) - image)[8::16, 8::16]
    assert off.max() <= (8 if pixel_format == "yuvj420p" else 5)


def test_what_is_transparent_is_laid_over_white(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "argb"
        pixels = np.zeros((32, 32, 4), np.uint8)
        pixels[..., 1], pixels[..., 0] = 100, 255  # alpha first
        pixels[:, 8:16, 0], pixels[:, 16:, 0] = 128, 0
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(pixels, format="argb")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    image = next(iter(read_video(path))).image
    assert image[4, 4].tolist() == [100, 0, 0]
    assert image[4, 12].tolist() == [177, 127, 127]
    assert image[4, 24].tolist() == [255, 255, 255]


def test_a_matrix_that_is_not_understood_is_said(tmp_path: Path) -> None:
    path = write_planes(tmp_path / "a.mkv", astronaut() / 255, "yuv444p", (1, 1, 1, 1))
    content = path.read_bytes()
    # Matroska's MatrixCoefficients (55B1): BT.709 becomes ICtCp.
    place = content.index(b"\x55\xb1\x81\x01")
    path.write_bytes(content[:place] + b"\x55\xb1\x81\x0e" + content[place + 4 :])
    notes: list[str] = []
    assert len(list(read_video(path, warn=notes.append))) == 2
    # FFV1 keeps no matrix of its own, so the container's counts.
    assert any("ICtCp" in note for note in notes)
