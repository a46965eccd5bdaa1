"""Photographs in: any of the kinds people have, out: upright 8-bit sRGB."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from spatialavatar.errors import UserError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"})
_APPLE_SUFFIXES = frozenset({".heic", ".heif"})


def is_photo(path: str | os.PathLike[str]) -> bool:
    """Whether the file name is that of a photograph."""
    return Path(path).suffix.lower() in PHOTO_SUFFIXES | _APPLE_SUFFIXES


def read_photo(path: str | os.PathLike[str], *, refuse_masks: bool = True) -> NDArray[np.uint8]:
    """Read a photograph as (H, W, 3) uint8 sRGB.

    The EXIF orientation is applied, an embedded colour profile is converted to sRGB, transparency is laid over white,
    grey becomes three equal channels, and 16-bit or floating-point values are scaled to 8 bits.

    Args:
        path: The file.
        refuse_masks: Whether an image that is nearly all pure black and white is an error.

    Raises:
        UserError: The file is missing, empty, no image, damaged, or (with `refuse_masks`) a mask.
    """
    file = Path(path)
    if not file.exists():
        raise UserError("this photo does not exist.", where=file, hint="Check the path.")
    if file.is_dir():
        raise UserError("this is a folder, a photo was expected.", where=file)
    if file.stat().st_size == 0:
        raise UserError("this photo is empty (0 bytes).", where=file, hint="Copy it again.")
    try:
        with Image.open(file) as opened:
            image = _to_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        hint = "Give a JPEG or PNG file."
        if file.suffix.lower() in _APPLE_SUFFIXES:
            hint = "HEIC photos are not read: export it as JPEG."
        raise UserError("this is not an image that can be read.", where=file, hint=hint) from None
    except Image.DecompressionBombError:
        raise UserError(
            "this image is too large.", where=file, hint="Scale it to at most 8,000 pixels a side."
        ) from None
    except PermissionError:
        raise UserError("this file may not be read.", where=file, hint="Check its permissions.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"this image is damaged ({error}).", where=file, hint="Copy or export it again.") from None
    if refuse_masks and _looks_like_a_mask(image):
        raise UserError(
            "this image has only a few flat colours: it looks like a mask, not a photo.",
            where=file,
            hint="Give the photo itself; the mask is computed.",
        )
    return image


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_rgb(np.asarray(image, np.float64))
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "La", "PA", "RGBa"):
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        image = _to_srgb(image.convert("RGB") if image.mode == "RGBA" else image, profile)
    image = image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    return np.array(image, np.uint8)


def _grey_to_rgb(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits, (H, W) -> (H, W, 3): integers fill 16 bits and floats [0, 1], or nearly."""
    top = float(np.max(values, initial=0.0))
    full = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else 65535.0 if top <= 65535.0 else top
    grey = np.clip(np.rint(values * (255.0 / full)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert by the embedded profile; a profile that cannot be read is ignored, as viewers do."""
    try:
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return image
    return image if converted is None else converted


def _looks_like_a_mask(image: NDArray[np.uint8]) -> bool:
    """Nearly all pixels pure black or white, or no more than 16 colours in all (a label map)."""
    sample = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)].reshape(-1, 3).astype(np.int32)
    extreme = ((sample <= 4).all(1) | (sample >= 251).all(1)).mean()
    colours = len(np.unique(sample @ np.array([65536, 256, 1])))
    return bool(extreme > 0.97 or colours <= 16)
