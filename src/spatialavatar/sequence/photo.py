"""Photographs in: any of the kinds people have, out: upright 8-bit sRGB."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.sequence.pictures import Picture, read_picture

_WHITE = (255, 255, 255)


def read_photo(
    path: str | os.PathLike[str], *, refuse_masks: bool = True, most_pixels: int | None = None
) -> NDArray[np.uint8]:
    """Read a photograph as (H, W, 3) uint8 sRGB.

    The EXIF orientation is applied, an embedded colour profile is converted to sRGB, transparency is laid over white,
    grey becomes three equal channels, and values of more than 8 bits are scaled by their own range.

    Args:
        path: The file.
        refuse_masks: Whether an image that is nearly all pure black and white is an error.
        most_pixels: Reduce it to at most so many pixels.

    Raises:
        UserError: The file is missing, empty, no image, damaged, or (with `refuse_masks`) a mask.
    """
    return open_photo(path, refuse_masks=refuse_masks, most_pixels=most_pixels)[0]


def open_photo(
    path: str | os.PathLike[str], *, refuse_masks: bool = True, most_pixels: int | None = None
) -> tuple[NDArray[np.uint8], Picture]:
    """As `read_photo`, with the picture it came from: its whole size and notes.

    Raises:
        UserError: As `read_photo`.
    """
    if not Path(path).exists():
        raise UserError("this photo does not exist.", where=path, hint="Check the path.")
    picture = read_picture(path, most_pixels=most_pixels)
    image = picture.over(_WHITE)
    if refuse_masks and _looks_like_a_mask(image):
        raise UserError(
            "this image has only a few flat colours: it looks like a mask, not a photo.",
            where=path,
            hint="Give the photo itself; the mask is computed.",
        )
    return image, picture


def _looks_like_a_mask(image: NDArray[np.uint8]) -> bool:
    """Nearly all pixels pure black or white, or no more than 16 colours in all (a label map)."""
    sample = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)].reshape(-1, 3).astype(np.int32)
    extreme = ((sample <= 4).all(1) | (sample >= 251).all(1)).mean()
    colours = len(np.unique(sample @ np.array([65536, 256, 1])))
    return bool(extreme > 0.97 or colours <= 16)
