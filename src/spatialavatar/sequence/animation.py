"""Animated pictures that FFmpeg does not read, as videos: each picture for as long as the file says."""

from __future__ import annotations

import contextlib
import fractions
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.sequence.media import media_of
from spatialavatar.sequence.pictures import MOST_PIXELS

_BY_PILLOW = ("animated WebP", "animated AVIF")
_MILLISECOND = fractions.Fraction(1, 1000)
_USUAL_MILLISECONDS = 100
"""What browsers take for a picture whose duration is 0."""


@contextlib.contextmanager
def playable(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A video that `read_video` reads: the file itself, or of an animated WebP or AVIF a lossless copy that goes after.

    Raises:
        UserError: The file is missing, empty or damaged.
    """
    file = Path(path)
    if media_of(file).name not in _BY_PILLOW:
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "animation.mkv"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _copy(file, copy)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # Whatever Pillow and FFmpeg say of a damaged file.
            raise UserError(f"this animation is damaged ({error}).", where=file, hint="Export it as MP4.") from None
        yield copy


def _copy(file: Path, copy: Path) -> None:
    """Write the pictures one by one, losslessly in Matroska, at their own times in milliseconds."""
    opened: Any = Image.open(file)
    with opened as animation, av.open(str(copy), "w") as container:
        width, height = animation.size
        if width * height > MOST_PIXELS:
            raise UserError(f"this animation is too large ({width} x {height}).", where=file, hint="Scale it down.")
        shown_for = []
        for index in range(animation.n_frames):
            animation.seek(index)
            animation.load()
            shown_for.append(round(animation.info.get("duration") or _USUAL_MILLISECONDS))
        stream = container.add_stream("ffv1", rate=fractions.Fraction(1000 * len(shown_for), sum(shown_for)))
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        stream.codec_context.time_base = _MILLISECOND
        time = 0
        for index, duration in enumerate(shown_for):
            animation.seek(index)
            picture, shown = Image.new("RGB", animation.size, "white"), animation.convert("RGBA")
            picture.paste(shown, mask=shown.getchannel("A"))
            frame = av.VideoFrame.from_image(picture).reformat(format="bgr0")
            frame.pts, frame.time_base = time, _MILLISECOND
            container.mux(stream.encode(frame))
            time += duration
        container.mux(stream.encode(None))
