"""Animated WebP, which not every version of FFmpeg decodes: Pillow does."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.input_files import check_regular_file
from spatialavatar.sequence.video_file import MOST_PIXELS
from spatialavatar.sequence.video_frame import over_white

_SHORTEST, _INSTEAD = 11, 100
"""Milliseconds: browsers show a frame of less than 11 for 100, and so do we."""


def is_animated_webp(path: str | os.PathLike[str]) -> bool:
    """Whether the content is a WebP file of more than one frame."""
    try:
        return check_regular_file(path) > 0 and len(frame_times(Path(path))) > 2
    except (UserError, OSError):
        return False


def frame_times(path: Path) -> NDArray[np.float64]:
    """(N + 1,) seconds at which each frame begins, and the last one ends; empty where it is not an animated WebP.

    The headers of the file's chunks are read, not its pictures.
    """
    times = [0]
    with path.open("rb") as file:
        head = file.read(21)
        if head[:4] != b"RIFF" or head[8:16] != b"WEBPVP8X" or not head[20:] or not head[20] & 2:
            return np.zeros(0)
        place = 12
        while True:
            file.seek(place)
            chunk = file.read(24)
            if len(chunk) < 8:
                break
            if chunk[:4] == b"ANMF" and len(chunk) == 24:
                shown = int.from_bytes(chunk[20:23], "little")
                times.append(times[-1] + (shown if shown >= _SHORTEST else _INSTEAD))
            size = struct.unpack("<I", chunk[4:8])[0]
            place += 8 + size + size % 2
    return np.array(times if len(times) > 1 else [], np.float64) / 1000


def open_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header.

    Raises:
        UserError: It cannot be opened, or is too large.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
    except Exception as error:
        # Pillow raises what its parsers meet: OSError, SyntaxError, ValueError, its own errors.
        raise UserError(f"this animated WebP is damaged ({error}).", where=path) from None
    if width * height > MOST_PIXELS:
        raise UserError(f"its frames are {width:,} x {height:,} pixels; at most {MOST_PIXELS:,} are read.", where=path)
    return width, height


def frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """(H, W, 3) uint8 sRGB of each frame, up to the first that is damaged; what is transparent is laid over white."""
    with Image.open(path) as image:
        for index in range(getattr(image, "n_frames", 1)):
            try:
                image.seek(index)
                picture = np.array(image.convert("RGBA"))
            except Exception:
                # As above; the caller counts what is missing.
                return
            yield over_white(picture)
