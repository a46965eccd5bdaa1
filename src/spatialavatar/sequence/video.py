"""Video files in and out: frames as they are meant to be seen, and nothing half written.

Reading applies the rotation that phones store as a display matrix, converts colours with the matrix the file names,
and turns a variable frame rate into a constant one, since everything downstream counts frames and not seconds.
"""

from __future__ import annotations

import fractions
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically

Warn = Callable[[str], None]

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".mts", ".3gp"})

_WORTH_A_JUMP = 5.0
"""Seconds; frames before an earlier start are decoded and thrown away."""

# FFmpeg's AVColorSpace values that PyAV's reformat understands under the same numbers.
_KNOWN_COLORSPACES = frozenset({1, 4, 5, 6, 7})
_BT709, _BT601 = 1, 5


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself.

    Attributes:
        path: The file.
        width, height: Of a frame as shown, that is after rotation, in pixels.
        frame_rate: Mean frames per second.
        frames: Number of frames the file announces; 0 where it announces none.
        rotation: Degrees, counter-clockwise, by which stored frames are turned to be shown (0, 90, 180 or 270).
    """

    path: Path
    width: int
    height: int
    frame_rate: float
    frames: int
    rotation: int


@dataclass(frozen=True)
class VideoFrame:
    """One frame.

    Attributes:
        index: Position in the constant-rate sequence, from 0.
        time: Seconds from the first frame, as stored in the file (not rounded to the constant rate).
        image: (H, W, 3) uint8 sRGB.
    """

    index: int
    time: float
    image: NDArray[np.uint8]


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether the file name is that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Open the file, decode its first frame and say what it is.

    Raises:
        UserError: It is missing, empty, not a video, or no frame can be decoded.
    """
    file = Path(path)
    with _open(file) as container:
        stream = _video_stream(container, file)
        first = _first_frame(container, stream, file)
        rotation = _rotation(first)
        turned = rotation in (90, 270)
        return VideoInfo(
            path=file,
            width=first.height if turned else first.width,
            height=first.width if turned else first.height,
            frame_rate=_nominal_rate(stream),
            frames=int(stream.frames or 0),
            rotation=rotation,
        )


def read_video(
    path: str | os.PathLike[str],
    *,
    every: int = 1,
    max_frames: int | None = None,
    start: float = 0.0,
    warn: Warn | None = None,
) -> Iterator[VideoFrame]:
    """Decode a video at a constant frame rate.

    Frames are placed on a grid of the file's mean rate by their timestamps. Where a file of variable rate leaves a
    grid position empty the frame on screen at that time is repeated; where two fall on one the later wins. A file of
    constant rate yields each of its frames once.

    Args:
        path: The file.
        every: Yield every n-th grid position only.
        max_frames: Stop after so many yielded frames.
        start: Seconds from the first frame before which nothing is yielded; a late start is jumped to. Indices and
            times are those of the whole video.
        warn: Called with a sentence when the file ends before its announced length; not with a late start.

    Raises:
        UserError: As `probe_video`; also when not one frame can be decoded.
    """
    if every < 1:
        raise ValueError("every must be at least 1")
    file = Path(path)
    with _open(file) as container:
        stream = _video_stream(container, file)
        stream.thread_type = "AUTO"
        rate = _nominal_rate(stream)
        announced = int(stream.frames or 0)
        decoded = yielded = 0
        next_index = 0
        origin: float | None = None
        if start > _WORTH_A_JUMP:
            origin = _jumped(container, stream, start)
            warn = None
        if start > 0:
            next_index = max(math.ceil((start - 1e-6) * rate), 0)
        held: tuple[int, float, Any] | None = None

        def due(until: int) -> Iterator[VideoFrame]:
            """The held frame, at every grid position before `until` that `every` selects."""
            nonlocal next_index
            assert held is not None
            image: NDArray[np.uint8] | None = None
            while next_index < until:
                if next_index % every == 0:
                    image = _to_rgb(held[2]) if image is None else image
                    yield VideoFrame(next_index // every, held[1], image)
                next_index += 1

        for frame in _decode(container, stream):
            seconds = frame.time if frame.time is not None else decoded / rate
            origin = seconds if origin is None else origin
            decoded += 1
            position = max(math.floor((seconds - origin) * rate + 0.5), 0)
            if held is not None:
                for item in due(position):
                    yield item
                    yielded += 1
                    if max_frames is not None and yielded >= max_frames:
                        return
            held = (position, seconds - origin, frame)
        if held is None:
            if start > 0:
                return
            raise UserError("not one frame of this video can be decoded.", where=file, hint=_REENCODE)
        for item in due(held[0] + 1):
            yield item
            yielded += 1
            if max_frames is not None and yielded >= max_frames:
                return
    # A file of constant rate may announce one frame more than can be shown; only a real gap is worth a sentence.
    if warn is not None and announced and decoded < 0.98 * announced - 1:
        warn(f"{file.name} ends early: {decoded} of {announced} frames can be decoded (is the file truncated?).")


def write_video(
    path: str | os.PathLike[str], frames: Iterable[NDArray[np.uint8]], frame_rate: float, *, quality: int = 18
) -> int:
    """Write H.264 (yuv420p, BT.709, playable everywhere), whole or not at all.

    Args:
        path: A file name ending in .mp4, .mov or .mkv.
        frames: (H, W, 3) uint8 sRGB images of one size; an odd width or height loses its last column or row.
        frame_rate: Frames per second.
        quality: Constant rate factor: 0 is lossless, 18 looks it, 28 is small.

    Returns:
        The number of frames written.

    Raises:
        UserError: There are no frames, their sizes differ, the name has no video suffix, or the disk is full.
    """
    file = Path(path)
    if file.suffix.lower() not in (".mp4", ".mov", ".mkv", ".m4v"):
        raise UserError(f"a video needs a name ending in .mp4, not {file.suffix or 'none'!r}.", where=file)
    count = 0
    with write_atomically(file) as temporary:
        try:
            with av.open(str(temporary), "w") as container:
                stream: Any = None
                for image in frames:
                    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
                    if stream is None:
                        stream = container.add_stream(
                            "libx264", rate=fractions.Fraction(frame_rate).limit_denominator(60000)
                        )
                        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                        stream.options = {"crf": str(quality), "preset": "veryfast"}
                        context = stream.codec_context
                        context.colorspace = context.color_primaries = context.color_trc = _BT709
                        context.color_range = 1
                        context.thread_count = 1
                    if (stream.width, stream.height) != (width, height):
                        found = f"{stream.width} x {stream.height} and {width} x {height}"
                        raise UserError(f"the frames of a video must have one size, found {found}.", where=file)
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
                    frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709)
                    frame.colorspace, frame.color_range = _BT709, 1
                    frame.pts = count
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


_REENCODE = "Open it in a player to check it, or re-encode it: ffmpeg -i INPUT -c:v libx264 -pix_fmt yuv420p OUTPUT.mp4"


def _open(file: Path) -> Any:
    if not file.exists():
        raise UserError("this video file does not exist.", where=file, hint="Check the path.")
    if file.is_dir():
        raise UserError("this is a folder, a video file was expected.", where=file)
    if file.stat().st_size == 0:
        raise UserError("this video file is empty (0 bytes).", where=file, hint="Copy or record it again.")
    try:
        return av.open(str(file))
    except PermissionError:
        raise UserError("this file may not be read.", where=file, hint="Check its permissions.") from None
    except av.error.FFmpegError:
        raise UserError(
            "this is not a video that can be read: it is damaged, cut off before its index, or of another kind.",
            where=file,
            hint=_REENCODE,
        ) from None


def _video_stream(container: Any, file: Path) -> Any:
    if not container.streams.video:
        raise UserError("this file holds no video stream: it is a sound file, or cut off.", where=file, hint=_REENCODE)
    return container.streams.video[0]


def _decode(container: Any, stream: Any) -> Iterator[Any]:
    """Frames up to the first place that cannot be decoded."""
    try:
        yield from container.decode(stream)
    except (av.error.FFmpegError, EOFError):
        return


def _first_frame(container: Any, stream: Any, file: Path) -> Any:
    for frame in _decode(container, stream):
        return frame
    raise UserError("not one frame of this video can be decoded.", where=file, hint=_REENCODE)


def _jumped(container: Any, stream: Any, start: float) -> float | None:
    """Go to the last key frame before `start` seconds after the first frame, whose own time is returned.

    None where the file cannot be jumped in; decoding then begins at the first frame, as ever.
    """
    first = next(_decode(container, stream), None)
    if first is None or first.time is None:
        container.seek(0)
        return None
    try:
        # A little early: a frame's time may lie before that of the key frame it is stored behind.
        container.seek(int((first.time + start - 1.0) * av.time_base))
        return float(first.time)
    except av.error.FFmpegError:
        container.seek(0)
        return None


def _nominal_rate(stream: Any) -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0.1 < float(rate) <= 1000:
            return float(rate)
    return 25.0


def _rotation(frame: Any) -> int:
    return round(float(getattr(frame, "rotation", 0) or 0) / 90) * 90 % 360


def _to_rgb(frame: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, turned upright. An untagged frame is BT.601 up to 576 rows and BT.709 above, as players do."""
    space = int(frame.colorspace)
    if space not in _KNOWN_COLORSPACES:
        space = _BT709 if frame.height > 576 else _BT601
    image = frame.reformat(format="rgb24", src_colorspace=space).to_ndarray()
    turns = _rotation(frame) // 90
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
