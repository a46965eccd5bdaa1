"""Videos out: H.264 that plays everywhere, whole or not at all."""

from __future__ import annotations

import fractions
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}

_BT709, _LIMITED = 1, 1
"""FFmpeg's numbers (ITU-T H.273)."""


def write_video(
    path: str | os.PathLike[str], frames: Iterable[NDArray[np.uint8]], frame_rate: float, *, quality: int = 18
) -> int:
    """Write H.264 (yuv420p, BT.709, playable everywhere), whole or not at all.

    Args:
        path: A file name ending in .mp4, .m4v, .mov or .mkv.
        frames: (H, W, 3) uint8 sRGB images of one size; an odd width or height loses its last column or row.
        frame_rate: Frames per second.
        quality: Constant rate factor: 0 is lossless, 18 looks it, 28 is small.

    Returns:
        The number of frames written.

    Raises:
        UserError: There are no frames, their sizes differ, the name has no video suffix, or the disk is full.
    """
    file = Path(path)
    container_format = _FORMATS.get(file.suffix.lower())
    if container_format is None:
        raise UserError(f"a video needs a name ending in .mp4, not {file.suffix or 'none'!r}.", where=file)
    if not (math.isfinite(frame_rate) and frame_rate > 0):
        raise UserError(f"a video needs a frame rate above 0, not {frame_rate}.", where=file)
    count = 0
    with write_atomically(file) as temporary:
        try:
            # A file object, not a name: in a name FFmpeg takes a colon for a protocol and a percent sign for a pattern.
            with temporary.open("wb") as output, av.open(output, "w", format=container_format) as container:
                stream: Any = None
                for image in frames:
                    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
                    if min(width, height) < 2:
                        raise UserError("the frames of a video need two rows and columns at least.", where=file)
                    if stream is None:
                        stream = _new_stream(container, width, height, frame_rate, quality)
                        convert = _Converter(width, height)
                        # Of the frame, or FFmpeg's filter leaves its own.
                        time_base = 1 / fractions.Fraction(frame_rate).limit_denominator(60000)
                    if (stream.width, stream.height) != (width, height):
                        found = f"{stream.width} x {stream.height} and {width} x {height}"
                        raise UserError(f"the frames of a video must have one size, found {found}.", where=file)
                    frame = convert(image)
                    frame.pts, frame.time_base = count, time_base
                    container.mux(stream.encode(frame))
                    count += 1
                if stream is None:
                    raise UserError("there are no frames to write.", where=file)
                container.mux(stream.encode())
        except av.error.FFmpegError as error:
            # PyAV's operating-system errors are also OSErrors, which write_atomically puts into words.
            if isinstance(error, OSError):
                raise
            raise UserError(f"the video could not be written ({error}).", where=file) from None
    return count


def _new_stream(container: Any, width: int, height: int, frame_rate: float, quality: int) -> Any:
    stream = container.add_stream("libx264", rate=fractions.Fraction(frame_rate).limit_denominator(60000))
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = {"crf": str(quality), "preset": "veryfast"}
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    context.thread_count = 1
    return stream


class _Converter:
    """RGB to BT.709 in limited range, by FFmpeg's own filter: PyAV's `reformat` takes BT.601 in versions 12 to 16."""

    def __init__(self, width: int, height: int):
        self._size = width, height
        graph = av.filter.Graph()
        self._source = graph.add_buffer(
            width=width,
            height=height,
            format=av.VideoFormat("rgb24", width, height),
            time_base=fractions.Fraction(1, 1000),
        )
        scale = graph.add("scale", "out_color_matrix=bt709:out_range=limited:flags=bicubic")
        form = graph.add("format", "yuv420p")
        self._sink = graph.add("buffersink")
        self._source.link_to(scale)
        scale.link_to(form)
        form.link_to(self._sink)
        graph.configure()
        self._graph = graph

    def __call__(self, image: NDArray[np.uint8]) -> Any:
        width, height = self._size
        self._source.push(av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24"))
        frame: Any = self._sink.pull()
        frame.colorspace, frame.color_range = _BT709, _LIMITED
        return frame
