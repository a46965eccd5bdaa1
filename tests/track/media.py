"""Pictures and videos for tests: the one real face that may be used, and what can be made of it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.sequence.video import write_video


@lru_cache(maxsize=1)
def astronaut() -> NDArray[np.uint8]:
    """(512, 512, 3) Eileen Collins (NASA, public domain)."""
    return np.asarray(skimage.data.astronaut())


def save(image: NDArray, path: Path, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)
    return path


def swaying_video(path: Path, frames: int = 6, rotation: int = 0) -> Path:
    """The astronaut's upper half, swaying by a few pixels; stored turned where a display matrix is to turn it back."""
    face = astronaut()[:320]
    shifts = np.rint(8 * np.sin(np.arange(frames))).astype(int)
    images = [np.roll(face, shift, axis=1) for shift in shifts]
    if not rotation:
        write_video(path, images, 25.0, quality=12)
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stored = [np.ascontiguousarray(np.rot90(image, -rotation // 90)) for image in images]
        stream.height, stream.width, stream.pix_fmt = stored[0].shape[0], stored[0].shape[1], "yuv420p"
        stream.options = {"crf": "12"}
        stream.set_display_rotation(rotation)
        for image in stored:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path
