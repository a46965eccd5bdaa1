"""The one reader of pictures and mattes: any format, depth and colour space in, upright 8-bit values out.

What a file is, is decided by its content (`media`); which value is white, by `levels`.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from spatialavatar.errors import UserError
from spatialavatar.input_files import check_regular_file
from spatialavatar.sequence import deep_pictures
from spatialavatar.sequence.levels import opaque_of, to_eight_bits, white_of
from spatialavatar.sequence.media import HEIC_HINT, Media, in_words, media_of_stream, not_usable

MOST_PIXELS = 1 << 27
"""134 million pixels, the most of a picture that is decoded whole: 100 million took 1.2 GB at the peak."""

MOST_PIXELS_OF_JPEG = 1 << 28
"""268 million pixels, the most of a baseline JPEG that is decoded at a half, quarter or eighth of its size."""

LARGEST_FILE = 1 << 30
"""Bytes of a picture's file, which is read whole: twice what the most pixels of 16 bits in three channels take."""

MOST_DEEP_PIXELS = 1 << 26
"""67 million pixels, the most of a picture with 16 or more bits a channel."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_NO_EXIF = "exif left out"


@dataclass(frozen=True)
class Picture:
    """A picture, upright.

    Attributes:
        colours: (H, W, 3) uint8, straight (not multiplied by alpha).
        alpha: (H, W) uint8, None where the file has none.
        size: Width and height of the whole picture in the file, upright; larger than `colours` where that was reduced.
        notes: Sentences on what had to be assumed, without the file's name.
    """

    colours: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    size: tuple[int, int]
    notes: tuple[str, ...] = ()

    def over(self, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, laid over one colour."""
        if self.alpha is None or bool((self.alpha == 255).all()):
            return self.colours
        image = Image.fromarray(self.colours)
        return np.array(Image.composite(image, Image.new("RGB", image.size, colour), Image.fromarray(self.alpha)))


@dataclass(frozen=True)
class _Decoded:
    """A file's picture before it is turned upright: an 8-bit image and what the file says of it."""

    image: Image.Image
    size: tuple[int, int]
    orientation: int
    profile: bytes | None
    notes: tuple[str, ...]


def read_picture(
    source: str | os.PathLike[str] | bytes,
    *,
    where: str | os.PathLike[str] | None = None,
    most_pixels: int | None = None,
    managed: bool = True,
) -> Picture:
    """Read a picture of any kind.

    Args:
        source: A file, or a file's content.
        where: What messages call a content; not needed of a file.
        most_pixels: Reduce the picture to at most so many pixels, by averaging; a JPEG is decoded smaller at once.
        managed: Convert colours to sRGB by the embedded profile, as viewers do.

    Raises:
        UserError: The file is missing, empty, no picture, too large, or damaged.
    """
    place = _place(source, where)
    decoded = _decode(source, place, most_pixels, matte=False)
    image, notes = decoded.image, decoded.notes
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "La", "PA", "RGBa"):
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if image.mode == "RGBA":
        image = image.convert("RGB")
    if image.mode == "LAB":
        image = _converted(image, ImageCms.createProfile("LAB"))
    elif managed and decoded.profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            image = _converted(image, ImageCms.ImageCmsProfile(io.BytesIO(decoded.profile)))
        except Exception:  # Whatever LittleCMS and Pillow say of bytes that are no profile for these colours.
            notes += ("its colour profile cannot be used; its colours are taken for sRGB.",)
    colours = _upright(image if image.mode == "RGB" else image.convert("RGB"), decoded.orientation)
    return Picture(
        colours=np.array(colours, np.uint8),
        alpha=None if alpha is None else np.array(_upright(alpha, decoded.orientation), np.uint8),
        size=decoded.size if decoded.orientation < 5 else decoded.size[::-1],
        notes=notes,
    )


def read_matte(
    source: str | os.PathLike[str] | bytes, *, where: str | os.PathLike[str] | None = None
) -> NDArray[np.uint8]:
    """Read a matte of any kind and depth as (H, W) uint8, 255 where the subject is.

    Of colours the red channel counts, multiplied by alpha; of one flat colour alpha alone. No colour profile is used.

    Args:
        source, where: As of `read_picture`.

    Raises:
        UserError: As of `read_picture`.
    """
    decoded = _decode(source, _place(source, where), None, matte=True)
    image = decoded.image
    if image.mode == "P" or "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa"):
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    first = np.array(_upright(image if image.mode == "L" else image.getchannel("R"), decoded.orientation), np.uint8)
    if alpha is None:
        return to_eight_bits(first, opaque_of(first))
    opacity = np.array(_upright(alpha, decoded.orientation), np.uint8)
    if np.ptp(first) == 0 and np.ptp(opacity) > 0:
        return opacity
    return np.asarray((first.astype(np.uint16) * opacity + 127) // 255, np.uint8)


def picture_size(
    source: str | os.PathLike[str] | bytes, *, where: str | os.PathLike[str] | None = None
) -> tuple[int, int]:
    """Width and height of the upright picture, from the file's header.

    Raises:
        UserError: As of `read_picture`; damage beyond the header is not seen.
    """
    return read_header(source, where=where)[0]


def read_header(
    source: str | os.PathLike[str] | bytes, *, where: str | os.PathLike[str] | None = None
) -> tuple[tuple[int, int], str]:
    """Width and height of the upright picture, and Pillow's name for its pixels (RGB, L, I;16, ...).

    Raises:
        UserError: As `picture_size`.
    """
    place = _place(source, where)
    with _stream(source, place) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        media = _picture_media(stream, place)
        try:
            if media.name == "TIFF":
                return deep_pictures.tiff_header(stream)
            with _opened(stream, media, place) as image:
                return (image.size if _orientation(image)[0] < 5 else image.size[::-1]), image.mode
        except UserError:
            raise
        except MemoryError:
            raise UserError("there is not enough memory to unpack this picture.", where=place) from None
        except Exception as error:
            raise _damaged(error, media, place) from None


def _decode(
    source: str | os.PathLike[str] | bytes, place: str | os.PathLike[str], most_pixels: int | None, *, matte: bool
) -> _Decoded:
    white = opaque_of if matte else white_of
    # From memory, of which no more is asked for than there is, whatever the lengths in the file announce.
    with _stream(source, place) as file, warnings.catch_warnings():
        stream = file if isinstance(file, io.BytesIO) else io.BytesIO(file.read())
        warnings.simplefilter("ignore")  # Pillow's, on damaged EXIF and on large pictures, which are bounded here.
        media = _picture_media(stream, place)
        try:
            deep = deep_pictures.open_deep(stream, media)
            if deep is not None:
                _check_pixels(deep.size, MOST_DEEP_PIXELS, place)
                image, notes = deep.eight_bit_image(white)
                image = _reduced(image, most_pixels)
                return _Decoded(image, deep.size, deep.orientation, deep.profile, deep.notes + notes)
            stream.seek(0)
            with _opened(stream, media, place) as opened:
                size = opened.size
                _prepare(opened, most_pixels, place)
                notes = _pages(opened, media)
                opened.load()
                # Pillow turns a TIFF while it loads it, and some versions still say afterwards how it was stored.
                orientation, more = (1, ()) if media.name == "TIFF" else _orientation(opened)
                profile = opened.info.get("icc_profile")
                image = _eight_bit(opened, white)
                image.info.update({k: opened.info[k] for k in ("transparency",) if k in opened.info})
                if media.name == "TIFF":
                    size = opened.size  # Which Pillow turns by the orientation while it loads it.
                return _Decoded(_reduced(image, most_pixels), size, orientation, profile, notes + more)
        except UserError:
            raise
        except MemoryError:
            raise UserError("there is not enough memory to unpack this picture.", where=place) from None
        except Exception as error:
            raise _damaged(error, media, place) from None


def _place(source: str | os.PathLike[str] | bytes, where: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if where is not None:
        return where
    return "a picture" if isinstance(source, bytes) else Path(source)


def _stream(source: str | os.PathLike[str] | bytes, place: str | os.PathLike[str]) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    size = check_regular_file(source)
    if size == 0:
        raise UserError("this picture is empty (0 bytes).", where=place, hint="Copy it again.")
    if size > LARGEST_FILE:
        raise UserError(f"this picture has {size:,} bytes; at most {LARGEST_FILE:,} are read.", where=place)
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise UserError(f"this file may not be read ({error.strerror}).", where=place) from None


def _picture_media(stream: BinaryIO, place: str | os.PathLike[str]) -> Media:
    media = media_of_stream(stream)
    stream.seek(0)
    if media.kind == "photo" or media.animated:
        return media
    if media.name == "JPEG XL" or media.kind == "video":
        raise not_usable(place, media, "a single image")
    raise not_usable(place, media, "an image")


def _opened(stream: BinaryIO, media: Media, place: str | os.PathLike[str]) -> Image.Image:
    """The file opened by Pillow, with only its header read."""
    if media.name == "HEIC":
        return _open_heic(stream, media, place)
    if media.name == "JPEG":
        # Opened as what it is, since Image.open refuses what is large before one can ask for a smaller decoding.
        try:
            return JpegImagePlugin.jpeg_factory(stream)
        except Exception:  # Older Pillows stop at EXIF data that they cannot read.
            image = JpegImagePlugin.jpeg_factory(io.BytesIO(_without_exif(stream)))
            image.info[_NO_EXIF] = True
            return image
    try:
        return Image.open(stream)
    except UnidentifiedImageError:
        raise UserError(
            f"this is {in_words(place, media)}, which Pillow {_pillow()} cannot read, or it is damaged.",
            where=place,
            hint="Export it as JPEG or PNG.",
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(None, MOST_PIXELS, place) from None


def _without_exif(stream: BinaryIO) -> bytes:
    """A JPEG without its APP1 segments, which hold EXIF and XMP."""
    stream.seek(0)
    data = stream.read()
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xE1:
            kept.append(data[at:end])
        at = end
    return b"".join(kept) + data[at:]


def _open_heic(stream: BinaryIO, media: Media, place: str | os.PathLike[str]) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise UserError(f"this is {in_words(place, media)}; it is not read.", where=place, hint=HEIC_HINT) from None
    heif = pillow_heif.open_heif(stream, convert_hdr_to_8bit=True)
    _check_pixels(heif.size, MOST_PIXELS, place)
    image: Image.Image = heif.to_pillow()
    return image


def _prepare(image: Image.Image, most_pixels: int | None, place: str | os.PathLike[str]) -> None:
    """Refuse what is too large before anything is decoded; let a JPEG be decoded at a part of its size."""
    width, height = image.size
    baseline = image.format in ("JPEG", "MPO") and not image.info.get("progressive") and most_pixels is not None
    _check_pixels(image.size, MOST_PIXELS_OF_JPEG if baseline else MOST_PIXELS, place)
    if most_pixels is not None and width * height > most_pixels:
        part = (most_pixels / (width * height)) ** 0.5
        image.draft(None, (max(int(width * part), 1), max(int(height * part), 1)))


def _check_pixels(size: tuple[int, int], most: int, place: str | os.PathLike[str]) -> None:
    if size[0] * size[1] > most:
        raise _too_large(size, most, place)


def _too_large(size: tuple[int, int] | None, most: int, place: str | os.PathLike[str]) -> UserError:
    found = "" if size is None else f" ({size[0]:,} x {size[1]:,})"
    return UserError(
        f"this picture is too large{found}; at most {most / 1e6:.0f} million pixels of its kind are read.",
        where=place,
        hint="Scale it down: 4,000 pixels a side are more than enough.",
    )


def _orientation(image: Image.Image) -> tuple[int, tuple[str, ...]]:
    """EXIF's orientation, 1 to 8, and what is said where it cannot be read."""
    damaged = ("its EXIF data is damaged: it is taken to be stored upright.",)
    if _NO_EXIF in image.info:
        return 1, damaged
    try:
        value = image.getexif().get(_ORIENTATION, 1)
        return (int(value) if value in _TURNS else 1), ()
    except Exception:  # EXIF is written by anybody: struct.error, KeyError, SyntaxError and more have been seen.
        return 1, damaged


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _pages(image: Image.Image, media: Media) -> tuple[str, ...]:
    """What is left out of a file with several pictures."""
    if media.name != "TIFF" and not media.animated:
        return ()  # The second picture of a .mpo is the other eye's, or a smaller preview.
    pages = int(getattr(image, "n_frames", 1))
    image.seek(0)
    return (f"it holds {pages} pictures; the first is read.",) if pages > 1 else ()


def _eight_bit(image: Image.Image, white: Any) -> Image.Image:
    """Modes of 16 and 32 bits as 8 bits of grey; 1 bit as L; all others as they are."""
    if image.mode.startswith("I") or image.mode == "F":
        values = deep_pictures.native(np.asarray(image))
        return Image.fromarray(to_eight_bits(values, white(values)))
    return image.convert("L") if image.mode == "1" else image


def _reduced(image: Image.Image, most_pixels: int | None) -> Image.Image:
    width, height = image.size
    if most_pixels is None or width * height <= most_pixels:
        return image
    part = (most_pixels / (width * height)) ** 0.5
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    size = (max(int(width * part), 1), max(int(height * part), 1))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _converted(image: Image.Image, profile: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return image if converted is None else converted


def _damaged(error: Exception, media: Media, place: str | os.PathLike[str]) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"this {media.name} picture is damaged ({reason}).", where=place, hint="Copy or export it again.")


def _pillow() -> str:
    import PIL

    return PIL.__version__
