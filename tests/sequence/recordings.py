"""Recordings of awkward kinds, made with PyAV."""

from __future__ import annotations

import fractions
import random
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

MILLISECOND = fractions.Fraction(1, 1000)


def quadrants(width: int = 96, height: int = 64, shade: int = 0) -> NDArray[np.uint8]:
    """Red, green / blue, white quarters: any rotation or mirror image shows."""
    image = np.zeros((height, width, 3), np.uint8)
    half_h, half_w = height // 2, width // 2
    image[:half_h, :half_w] = (200 + shade % 50, 0, 0)
    image[:half_h, half_w:] = (0, 200, 0)
    image[half_h:, :half_w] = (0, 0, 200)
    image[half_h:, half_w:] = 230
    return image


_BITS = 8


def counted(number: int, width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """A frame that says its number, below 256: eight bands, bright where the number has a one."""
    bits = [(number >> bit) & 1 for bit in range(_BITS)]
    row = np.repeat(np.array([210 if bit else 40 for bit in bits], np.uint8), -(-width // _BITS))[:width]
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))


def numbers(frames: Iterable[Any]) -> list[int]:
    """The numbers of `counted` frames."""
    found = []
    for frame in frames:
        width = frame.image.shape[1]
        columns = [round((bit + 0.5) * width / _BITS) for bit in range(_BITS)]
        found.append(sum(1 << bit for bit, x in enumerate(columns) if frame.image[:, x].mean() > 125))
    return found


def write(
    path: Path,
    images: Sequence[NDArray[np.uint8]],
    times_ms: Sequence[int] | None = None,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: int = 25,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    container_format: str | None = None,
    aspect: fractions.Fraction | None = None,
    interlaced: bool = False,
) -> Path:
    """A video of these pictures; `times_ms` are their stamps, equal steps of `rate` where there are none."""
    height, width = images[0].shape[:2]
    with path.open("wb") as file, av.open(file, "w", _format(path, container_format), container_options or {}) as out:
        stream: Any = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if codec == "libx264":
            stream.options = {"crf": "10", "bf": "0", "preset": "veryfast"}
        stream.options = {**dict(stream.options), **(options or {})}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if times_ms is not None:
            stream.codec_context.time_base = MILLISECOND
        stream.codec_context.thread_count = 1
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times_ms is None:
                frame.pts, frame.time_base = number, fractions.Fraction(1, rate)
            else:
                frame.pts, frame.time_base = times_ms[number], MILLISECOND
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def _format(path: Path, container_format: str | None) -> str:
    names = {".mkv": "matroska", ".ts": "mpegts", ".m2ts": "mpegts", ".wmv": "asf", ".mpg": "mpeg", ".ogv": "ogg"}
    return container_format or names.get(path.suffix, path.suffix[1:])


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix into an MP4 file: the stored point (x, y) is shown at (a x + c y, b x + d y)."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2, version 0
    one = 1 << 16
    content[place : place + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def damaged(source: Path, target: Path, packet: int, seed: int = 0) -> Path:
    """The same video with one packet turned into noise."""
    noise = random.Random(seed)
    with av.open(str(source)) as container, target.open("wb") as file:
        video: Any = container.streams.video[0]
        with av.open(file, "w", format=_format(target, None)) as out:
            stream = copied_stream(out, video)
            count = 0
            for item in container.demux(video):
                if not item.size:
                    continue
                data = noise.randbytes(item.size) if count == packet else bytes(item)
                out.mux(copied_packet(item, data, stream))
                count += 1
    return target


def copied_stream(out: Any, stream: Any) -> Any:
    """A stream of the same kind."""
    if int(av.__version__.split(".")[0]) < 15:
        pytest.skip("PyAV before 15 cannot copy packets with their headers and durations")
    return out.add_stream_from_template(stream)


def copied_packet(packet: Any, data: bytes, stream: Any, shift: int = 0) -> Any:
    """A packet of other content, at the same time or later."""
    copy = av.Packet(data)
    copy.pts, copy.dts = packet.pts + shift, packet.dts + shift
    copy.time_base, copy.stream = packet.time_base, stream
    # Without a duration, the last frame of an MP4 file ends as it begins, and is not shown.
    copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
    return copy


def moved(source: Path, target: Path, shift_ms: Any, *, options: dict[str, str] | None = None) -> Path:
    """The same packets at other times: `shift_ms(number)` is added to each packet's stamps."""
    with av.open(str(source)) as container, target.open("wb") as file:
        video: Any = container.streams.video[0]
        with av.open(file, "w", format=_format(target, None), options=options or {}) as out:
            stream = copied_stream(out, video)
            for number, item in enumerate(item for item in container.demux(video) if item.size):
                shift = round(shift_ms(number) / 1000 / float(item.time_base))
                out.mux(copied_packet(item, bytes(item), stream, shift))
    return target
