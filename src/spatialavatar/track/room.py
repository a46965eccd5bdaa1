"""What a video will take before it is tracked: disk for its frames, and memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from spatialavatar.errors import UserError

_DISK_PER_PIXEL = 1.1
"""Bytes of a frame's two PNGs over its pixels: 0.7 to 1.4 in five videos (512 x 512), 1.1 in the mean."""

_LEAST_DISK_PER_PIXEL = 0.6
"""Below all of them: with less free space than this a video cannot be tracked."""

_MEMORY_PER_FRAME = 60_000
"""Bytes: 37,000 of the fit, the rest landmarks, outlines and torsos until then (measured with 1,600 and 3,200 frames).
"""

_MEMORY_AT_LEAST = 1_000_000_000
"""Bytes that a video of a few seconds takes, the interpreter and its libraries among them."""

_WORTH_SAYING = 3000
"""Frames, two minutes at 25 a second, from which it is said what is needed."""


def check_room(frames: int, size: int, folder: Path | None, called: str | os.PathLike[str] | None = None) -> str | None:
    """What so many frames will take, in a sentence; None where that is little.

    Args:
        frames: How many will be tracked.
        size: Their side in pixels.
        folder: Where frames are written; None where they are kept in memory.
        called: What messages call that place.

    Raises:
        UserError: The disk is clearly too small.
    """
    pixels = frames * size * size
    in_memory = 4 * pixels if folder is None else 0  # Three bytes of colour and one of matte.
    memory = _MEMORY_AT_LEAST + frames * _MEMORY_PER_FRAME + in_memory
    disk = pixels * _DISK_PER_PIXEL if folder is not None else 0.0
    if folder is not None:
        free = shutil.disk_usage(folder).free
        if free < pixels * _LEAST_DISK_PER_PIXEL:
            raise UserError(
                f"{frames:,} frames will take about {_gigabytes(disk)} of disk, {_gigabytes(free)} are free.",
                where=called or folder,
                hint="Free some space, or take fewer or smaller frames: --every 2, --max-frames, --size 256.",
            )
    if frames < _WORTH_SAYING:
        return None
    what = f"{_gigabytes(disk)} of disk and " if folder is not None else ""
    return f"A long video: about {frames:,} frames will take {what}{_gigabytes(memory)} of memory."


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
