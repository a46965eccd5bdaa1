"""Video files are opened here, whoever wrote them: by content and not by name, and nothing but the file itself.

FFmpeg is given bytes, never the user's path: in a name it would take a colon for a protocol, a percent sign for a
pattern of pictures and a pipe for one. It may open no other file, no network address and no device: lists of files
(HLS, DASH, concat) are refused, as are formats that do not hold video recordings.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av

from spatialavatar.errors import UserError
from spatialavatar.input_files import check_regular_file
from spatialavatar.text import printable

VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".mov", ".m4v", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".gif", ".apng", ".ogv"),
        *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".mxf", ".mjpg"),
    }
)

MOST_PIXELS = 1 << 26
"""Pixels of a frame, 67 million; 8K video has 33 million. Checked before a picture is allocated."""

REENCODE = "Open it in a player to check it, or re-encode it: ffmpeg -i INPUT -c:v libx264 -pix_fmt yuv420p OUTPUT.mp4"

# Names of FFmpeg's demuxers. Those that are missing read lists of other files, single pictures, text, sound or devices.
_FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v", "vc1", "obu", "ivf"),
    *("asf", "flv", "ogg", "mxf", "nut", "rm", "dv", "wtv", "gif", "apng", "yuv4mpegpipe"),
)
_BY_SUFFIX_ONLY = {".mjpg": "mjpeg", ".mjpeg": "mjpeg"}
"""Formats whose content is that of another kind, too: JPEG pictures, one after the other."""

_PICTURES = ("gif", "apng")
"""Formats that hold one picture as often as many."""

_STILL_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"jpeg"})
"""Major brands of ISO files that are photographs; "hevc", "msf1" and "avis" are sequences."""

_LISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml", b"[playlist]", b"[Reference]", b"v=0", b"<asx", b"<ASX")

# FFmpeg decodes a frame or two while it opens a file. PyAV before 17 writes beyond its memory where it is given options
# for that and the format finds its streams late (MPEG); there the size is looked at after opening alone.
_EARLY_LIMIT: dict[str, Any] = (
    {"options": {"max_pixels": str(MOST_PIXELS)}} if int(av.__version__.split(".")[0]) >= 17 else {}
)

_ATTACHED, _THUMBNAILS, _DEFAULT = 0x400, 0x800, 0x1
"""AV_DISPOSITION_ATTACHED_PIC (cover art), _TIMED_THUMBNAILS and _DEFAULT."""


class _Bytes:
    """A file for FFmpeg to read from, under a name that tells it nothing but the suffix."""

    def __init__(self, file: BinaryIO, suffix: str):
        self._file, self.read, self.tell = file, file.read, file.tell
        self.name = f"video{suffix}" if suffix in VIDEO_SUFFIXES else "video"

    def seek(self, offset: int, whence: int = 0) -> int:
        """Damaged files ask for places before their beginning: FFmpeg's error, and not Python's."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and the video stream that is meant to be seen.

    Raises:
        UserError: The file is missing, empty, a folder, a device or a pipe; it is a list of other files, a photograph,
            damaged, of another kind, or without video; or its frames are too large.
    """
    file = Path(path)
    if not os.path.exists(file):
        raise UserError("this video file does not exist.", where=file, hint="Check the path.")
    if file.is_dir():
        raise UserError("this is a folder, a video file was expected.", where=file)
    if check_regular_file(file) == 0:
        raise UserError("this video file is empty (0 bytes).", where=file, hint="Copy or record it again.")
    try:
        content = file.open("rb")
    except OSError as error:
        raise UserError(
            f"this file may not be read ({error.strerror}).", where=file, hint="Check its permissions."
        ) from None
    with content:
        head = content.read(64)
        content.seek(0)
        suffix = file.suffix.lower()
        _refuse_others(head, file)
        formats = ",".join([*_FORMATS, *filter(None, [_BY_SUFFIX_ONLY.get(suffix)])])
        try:
            container = av.open(
                _Bytes(content, suffix),
                container_options={"format_whitelist": formats, "protocol_whitelist": "none"},
                **_EARLY_LIMIT,
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError, ValueError):
            raise UserError(
                "this is not a video that can be read: it is damaged, cut off before its index, or of another kind.",
                where=file,
                hint=REENCODE,
            ) from None
        with container:
            stream = _choose(container, file)
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
            yield container, stream


def opens_as_video(path: str | os.PathLike[str]) -> bool:
    """Whether the content is a video that FFmpeg can open, whatever the name says.

    Photographs are not, HEIC, MPO files of two pictures and GIF files of one frame among them; nor are lists of files.
    """
    try:
        with opened(path) as (container, stream):
            if container.format.name not in _PICTURES:
                return True
            packets = (packet for packet in container.demux(stream) if packet.size)
            return next(packets, None) is not None and next(packets, None) is not None
    except UserError:
        return False
    except (av.error.FFmpegError, OSError):
        return False


def other_streams(container: Any, stream: Any) -> str | None:
    """A sentence where the file holds several videos to choose from."""
    count = len(_candidates(container))
    if count < 2:
        return None
    size = f"{stream.codec_context.width} x {stream.codec_context.height}"
    return f"holds {count} video streams: number {stream.index} ({size}) is read."


def _refuse_others(head: bytes, file: Path) -> None:
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(_LISTS):
        raise UserError(
            "this is a text file that names other files (a playlist or manifest), not a video.",
            where=file,
            hint="Give the video itself. Lists are not followed: they could lead to any file or address.",
        )
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        raise UserError(f"this is a photograph ({printable(head[8:12].decode('latin-1'))}), not a video.", where=file)


def _candidates(container: Any) -> list[Any]:
    streams = []
    for stream in container.streams.video:
        context = stream.codec_context
        if context is not None and not _is_attached(stream, len(container.streams)):
            streams.append(stream)
    # An animated AVIF holds its first picture once more, as a stream of one frame.
    moving = [stream for stream in streams if stream.frames != 1]
    return moving or streams


def _is_attached(stream: Any, streams: int) -> bool:
    """Whether the stream is cover art or a strip of thumbnails, and not the video."""
    if hasattr(stream, "disposition"):
        return bool(_disposition(stream) & (_ATTACHED | _THUMBNAILS))
    # PyAV before 15 does not say; a lone picture beside other streams has no rate.
    return streams > 1 and not stream.average_rate and stream.codec_context.name in ("mjpeg", "png", "bmp", "webp")


def _disposition(stream: Any) -> int:
    value = getattr(stream, "disposition", 0)
    return int(getattr(value, "value", value))


def _choose(container: Any, file: Path) -> Any:
    if not container.streams.video:
        raise UserError("this file holds no video stream: it is a sound file, or cut off.", where=file, hint=REENCODE)
    streams = _candidates(container)
    if not streams:
        raise UserError(
            "this file holds no video that can be decoded: only cover art, or a codec that FFmpeg does not know.",
            where=file,
            hint=REENCODE,
        )

    def rank(stream: Any) -> tuple[bool, int, int]:
        context = stream.codec_context
        return bool(_disposition(stream) & _DEFAULT), context.width * context.height, -stream.index

    stream = max(streams, key=rank)
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MOST_PIXELS:
        raise UserError(
            f"its frames are {width:,} x {height:,} pixels; at most {MOST_PIXELS:,} pixels are read.",
            where=file,
            hint="Scale it down first.",
        )
    return stream
