"""PNG and TIFF of more than 8 bits a channel, whose colours Pillow cannot open or cuts to 8 bits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.sequence.levels import Values, opaque_of, to_eight_bits
from spatialavatar.sequence.media import Media

White = Callable[[Values, "int | None"], float]

_TIFF_MAXIMUM, _TIFF_ORIENTATION, _TIFF_PROFILE, _TIFF_ALPHA = 281, 274, 34675, 338
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _SEPARATED = 0, 1, 2, 5
# (channels, bits each) -> Pillow's name.
_TIFF_MODES = {(1, 1): "1", (1, 8): "L", (1, 16): "I;16", (3, 8): "RGB", (4, 8): "RGBA"}
# What FFmpeg calls 16-bit pixels -> channels; the suffix says the order of bytes.
_CHANNELS = {"gray16": 1, "ya16": 2, "rgb48": 3, "rgba64": 4}


@dataclass(frozen=True)
class Deep:
    """A picture of more than 8 bits, with its header read and its pixels not.

    Attributes:
        size: Width and height as stored.
        orientation: EXIF's, 1 to 8.
        profile: The embedded colour profile.
        bits: Significant bits, if the file says them.
        inks: Whether the four channels are inks (CMYK) and not colours with alpha.
        inverted: Whether 0 is white.
        premultiplied: Whether colours are multiplied by alpha.
        notes: Sentences on what had to be assumed.
        values: Decodes it: (H, W, C) values with C 1 (grey), 2 (with alpha), 3 (RGB) or 4.
    """

    size: tuple[int, int]
    orientation: int
    profile: bytes | None
    bits: int | None
    values: Callable[[], Values]
    inks: bool = False
    inverted: bool = False
    premultiplied: bool = False
    notes: tuple[str, ...] = ()

    def eight_bit_image(self, white: White) -> tuple[Image.Image, tuple[str, ...]]:
        """The decoded picture as L, LA, RGB, RGBA or CMYK, and what is to be said of its values."""
        values = self.values()
        channels = values.shape[2]
        colours = values if channels in (1, 3) or self.inks else values[..., :-1]
        full = white(colours, self.bits)
        notes = _strange_values(colours, full)
        alpha = values[..., colours.shape[2] :]
        opaque = opaque_of(alpha, None) if alpha.size else 1.0
        if self.premultiplied and alpha.size:
            colours = colours / np.maximum(alpha / np.float32(opaque), 1e-6)
        eight = to_eight_bits(colours, full)
        if self.inverted:
            eight = 255 - eight
        eight = np.concatenate([eight, to_eight_bits(alpha, opaque)], 2)
        mode = "CMYK" if self.inks else {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[eight.shape[2]]
        pixels = np.ascontiguousarray(eight[..., 0] if mode == "L" else eight)
        return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes()), notes


def open_deep(stream: BinaryIO, media: Media) -> Deep | None:
    """The picture if it has more than 8 bits a channel and is a PNG or a TIFF; None leaves it to Pillow."""
    stream.seek(0)
    if media.name in ("PNG", "animated PNG"):
        return _png(stream)
    return _tiff(stream) if media.name == "TIFF" else None


def tiff_header(stream: BinaryIO) -> tuple[tuple[int, int], str]:
    """Upright width and height of a TIFF's first picture, which Pillow gives upright or as stored by its version, and
    how its pixels are stored, in Pillow's words where it has some."""
    import tifffile

    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page: Any = file.pages[0]
        size = (int(page.imagewidth), int(page.imagelength))
        kind = (int(page.samplesperpixel), page.bitspersample)
        mode = _TIFF_MODES.get(kind, f"{kind[0]} x {kind[1]} bits")
        return (size if page.tags.valueof(_TIFF_ORIENTATION, 1) < 5 else size[::-1]), mode


def native(values: NDArray[Any]) -> Values:
    """The same values in this machine's order of bytes."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _png(stream: BinaryIO) -> Deep | None:
    head = stream.read(26)
    if len(head) < 26 or head[24] != 16:
        return None
    bits = _significant_bits(stream)
    stream.seek(0)
    with Image.open(stream) as image:
        size, profile = image.size, image.info.get("icc_profile")
        try:
            orientation = int(image.getexif().get(_TIFF_ORIENTATION, 1))
        except Exception:  # As in `pictures`: EXIF is written by anybody.
            orientation = 1
        return Deep(size, orientation, profile, bits, lambda: _by_ffmpeg(stream))


def _significant_bits(stream: BinaryIO) -> int | None:
    """The most of an sBIT chunk's values, or None where there is none."""
    position = 8
    while True:
        stream.seek(position)
        chunk = stream.read(8)
        if len(chunk) < 8 or chunk[4:] in (b"IDAT", b"IEND"):
            return None
        length = int.from_bytes(chunk[:4], "big")
        if chunk[4:] == b"sBIT":
            bits = max(stream.read(min(length, 4)), default=0)
            return bits if 1 <= bits <= 16 else None
        position += 12 + length


def _by_ffmpeg(stream: BinaryIO) -> Values:
    """(H, W, C) uint16 as FFmpeg decodes it, without any conversion."""
    stream.seek(0)
    with av.open(stream) as container:
        frame = next(container.decode(video=0))
    name = frame.format.name
    channels = _CHANNELS[name[:-2]]
    rows = np.frombuffer(frame.planes[0], np.dtype("<u2" if name.endswith("le") else ">u2"))
    rows = rows.reshape(-1, frame.planes[0].line_size // 2)[: frame.height, : frame.width * channels]
    return native(rows).reshape(frame.height, frame.width, channels)


def _tiff(stream: BinaryIO) -> Deep | None:
    import tifffile

    with tifffile.TiffFile(stream) as file:
        page = file.pages[0]
        if not isinstance(page, tifffile.TiffPage) or page.dtype is None:
            return None
        deep = page.dtype.itemsize > 1 and page.photometric in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _SEPARATED)
        if not deep:
            return None
        pages = len(file.pages)
        alphas = tuple(page.tags.valueof(_TIFF_ALPHA, ())) if _TIFF_ALPHA in page.tags else ()
        maximum = page.tags.valueof(_TIFF_MAXIMUM)
        profile = page.tags.valueof(_TIFF_PROFILE)
        return Deep(
            size=(page.imagewidth, page.imagelength),
            orientation=int(page.tags.valueof(_TIFF_ORIENTATION, 1)),
            profile=profile if isinstance(profile, bytes) else None,
            bits=_bits(page.bitspersample, page.dtype.itemsize, maximum, str(page.description)),
            values=lambda: _tiff_values(stream),
            inks=page.photometric == _SEPARATED,
            inverted=page.photometric == _MIN_IS_WHITE,
            premultiplied=1 in alphas,
            notes=(f"it holds {pages} pictures; the first is read.",) if pages > 1 else (),
        )


def _bits(stored: Any, bytes_each: int, maximum: Any, description: str) -> int | None:
    """Significant bits by how they are stored, by the largest value a tag says, or by OME's description."""
    if isinstance(stored, int) and stored < 8 * bytes_each:
        return stored
    if isinstance(maximum, tuple):
        maximum = max(maximum, default=0)
    if isinstance(maximum, int) and 255 <= maximum < 2 ** (8 * bytes_each) - 1:
        return maximum.bit_length()
    said = re.search(r'SignificantBits="(\d{1,2})"', description)
    return int(said[1]) if said is not None and 8 <= int(said[1]) <= 8 * bytes_each else None


def _tiff_values(stream: BinaryIO) -> Values:
    import tifffile

    stream.seek(0)
    try:
        with tifffile.TiffFile(stream) as file:
            page = file.pages[0]
            values = native(page.asarray())
            if values.ndim == 3 and page.axes.startswith("S"):
                values = np.moveaxis(values, 0, 2)
    except (KeyError, ValueError):  # A compression of which tifffile knows only the name: FFmpeg reads LZW and others.
        try:
            values = _by_ffmpeg(stream)
        except (KeyError, av.error.FFmpegError, StopIteration):
            values = _by_pillow(stream)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"its pixels have the shape {values.shape}")
    return values


def _by_pillow(stream: BinaryIO) -> Values:
    stream.seek(0)
    with Image.open(stream) as image:
        if not image.mode.startswith("I") and image.mode != "F":
            raise ValueError("its pixels are compressed in a way that is not read here")
        image.load()
        return native(np.asarray(image))


def _strange_values(values: Values, white: float) -> tuple[str, ...]:
    """A sentence on floats that cannot be shown."""
    if not np.issubdtype(values.dtype, np.floating):
        return ()
    notes: tuple[str, ...] = ()
    strange = int((~np.isfinite(values)).sum())
    if strange:
        notes += (f"{strange:,} of its {values.size:,} values are not finite numbers; they are shown black or white.",)
    beyond = float((values > white).mean())
    if beyond > _MANY:
        notes += (f"{100 * beyond:.0f} % of its values are above {white:g} and shown white.",)
    return notes


_MANY = 0.01
"""Share of values above white from which that is said: fewer are highlights, as in every photo."""
