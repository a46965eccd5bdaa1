"""From one decoded frame to a picture as it is meant to be seen: upright, of square pixels, in sRGB.

FFmpeg's filters convert, since they understand range and matrix alike in all of its versions; PyAV's own `reformat`
takes BT.709 for BT.601 in versions 13 to 16, and limited range for full.
"""

from __future__ import annotations

import fractions
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from spatialavatar.sequence.video_colour import ColourKind, Primaries, SrgbConverter, Transfer

_SQUARE_ENOUGH = 0.005
"""Share by which pixels may differ from squares and stay as they are: editors leave ratios such as 404:405 behind, and
resampling by them would only blur."""

_ODDEST_PIXEL = 4.0
"""Sides of a pixel to one another; the widest format in use is 2.2:1. Beyond it the header is damaged."""

# FFmpeg's enumerations, as in ITU-T H.273.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "smpte170m", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_OTHER_MATRICES = {8: "YCgCo", 11: "SMPTE 2085", 12: "chromaticity-derived", 13: "chromaticity-derived", 14: "ICtCp"}
_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
_OTHER_TRANSFERS = {8: "linear", 9: "logarithmic", 10: "logarithmic", 17: "SMPTE 428"}
_PRIMARIES: dict[int, Primaries] = {9: "bt2020", 11: "p3", 12: "p3"}
_FULL_RANGE = 2

_BROADCAST_ROWS = 576
"""Rows up to which an untagged frame is taken for BT.601, and above for BT.709, as players do."""

# 8-bit formats that FFmpeg converts by a fast path with an error of at most 2 levels; 0.5 by the exact one, 5 times as
# slow, which the others take.
_FAST = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"})
_EXACT = "accurate_rnd+full_chroma_int+full_chroma_inp"


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is turned to be shown: rows and columns exchanged first, then mirrored.

    Attributes:
        transposed: Whether rows become columns.
        mirrored: Whether left and right change places.
        flipped: Whether top and bottom change places.
    """

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, ...) -> (H, W, ...) or (W, H, ...)."""
        image = image.swapaxes(0, 1) if self.transposed else image
        image = image[:, ::-1] if self.mirrored else image
        return np.ascontiguousarray(image[::-1] if self.flipped else image)

    @property
    def turn(self) -> tuple[bool, int]:
        """The same as (whether left and right change places first, degrees counter-clockwise by which it is turned)."""
        index = np.arange(4, dtype=np.uint8).reshape(2, 2)
        shown = self.apply(index)
        for first in (False, True):
            for quarter in range(4):
                if np.array_equal(np.rot90(index[:, ::-1] if first else index, quarter), shown):
                    return first, 90 * quarter
        raise AssertionError("eight orientations are all there are")


def orientation_of(matrix: bytes) -> tuple[Orientation, bool]:
    """The orientation that a display matrix asks for, and whether it asks for nothing else.

    The matrix (nine int32 of the machine, 16.16 fixed point) takes the stored point (x, y) to
    (a x + c y, b x + d y), y down; only quarter turns and mirror images are applied, the nearest to what it says.
    """
    a, b, _, c, d, *_ = (value / 65536 for value in struct.unpack("=9i", matrix[:36]))
    size = abs(a * d - b * c) ** 0.5
    if size < 1e-3:
        return Orientation(), False
    a, b, c, d = a / size, b / size, c / size, d / size
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    if straight >= crossed:
        return Orientation(False, a < 0, d < 0), crossed < 0.02 * straight
    return Orientation(True, c < 0, b < 0), straight < 0.02 * crossed


@dataclass(frozen=True)
class Look:
    """Everything that decides how a frame is shown, but its pixels.

    Attributes:
        stored: Width and height in the file.
        size: Width and height in square pixels, before it is turned.
        orientation: How it is turned.
        format: FFmpeg's name of its pixel format.
        matrix: FFmpeg's name of the matrix of its luma and chroma.
        full_range: Whether luma goes from 0 to 255, and not from 16 to 235.
        colour: Transfer function and gamut.
    """

    stored: tuple[int, int]
    size: tuple[int, int]
    orientation: Orientation
    format: str
    matrix: str
    full_range: bool
    colour: ColourKind

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as shown."""
        return self.size[::-1] if self.orientation.transposed else self.size


class FrameLooks:
    """Finds out how a stream's frames are to be shown; keeps what only the first ones say.

    Attributes:
        notes: Sentences about what is not understood, without the file's name.
    """

    def __init__(self, stream_ratio: fractions.Fraction | None):
        self.notes: dict[str, None] = {}
        self._container_ratio = stream_ratio
        self._first_ratio: fractions.Fraction | None = None
        self._matrix: bytes | None = None
        self._orientation = Orientation()

    def look(self, frame: Any, context: Any) -> Look:
        """How this frame is shown; `context` is the codec's, right after it decoded the frame."""
        stored = frame.width, frame.height
        return Look(
            stored=stored,
            size=self._square(stored, context.sample_aspect_ratio),
            orientation=self._turned(frame),
            format=frame.format.name,
            matrix=self._yuv_matrix(frame, context),
            full_range=_is_full_range(frame),
            colour=self._colour(frame, context),
        )

    def _turned(self, frame: Any) -> Orientation:
        data = frame.side_data.get("DISPLAYMATRIX")
        matrix = None if data is None else bytes(data)
        # Versions of FFmpeg before 7 give it to the first frame only.
        if matrix is not None and len(matrix) >= 36 and matrix != self._matrix:
            self._matrix = matrix
            self._orientation, exact = orientation_of(matrix)
            if not exact:
                self.notes["asks to be turned by another angle than a quarter turn: the nearest one is applied."] = None
        return self._orientation

    def _square(self, stored: tuple[int, int], codec_ratio: fractions.Fraction | None) -> tuple[int, int]:
        """The shown size: like players, pixels are stretched, never squeezed."""
        self._first_ratio = codec_ratio if self._first_ratio is None else self._first_ratio
        # The container's word counts for more than the codec's, until the codec changes its own.
        changed = codec_ratio != self._first_ratio
        ratio = float((codec_ratio if changed else self._container_ratio or codec_ratio) or 1)
        width, height = stored
        if ratio <= 0 or not 1 / _ODDEST_PIXEL <= ratio <= _ODDEST_PIXEL:
            self.notes[f"gives its pixels sides of {ratio:g} to 1, which cannot be: they are taken for squares."] = None
            return stored
        if abs(ratio - 1) <= _SQUARE_ENOUGH:
            return stored
        return (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))

    def _yuv_matrix(self, frame: Any, context: Any) -> str:
        space = int(frame.colorspace)
        if space in _OTHER_MATRICES:
            self.notes[f"stores its colours as {_OTHER_MATRICES[space]}, which is not understood: they are wrong."] = (
                None
            )
        if space in _MATRICES:
            return _MATRICES[space]
        if _primaries(frame, context) == 9:
            return "bt2020"
        return "bt709" if frame.height > _BROADCAST_ROWS else "bt601"

    def _colour(self, frame: Any, context: Any) -> ColourKind:
        transfer = int(getattr(frame, "color_trc", context.color_trc) or 0)
        if transfer in _OTHER_TRANSFERS:
            self.notes[f"stores {_OTHER_TRANSFERS[transfer]} values, which are taken for sRGB: it is too dark."] = None
        return ColourKind(_TRANSFERS.get(transfer, "sdr"), _PRIMARIES.get(_primaries(frame, context) or 0, "bt709"))


@dataclass(frozen=True)
class _Graph:
    """FFmpeg filters that turn frames of one look into RGB."""

    look: Look
    size: tuple[int, int]

    @cached_property
    def ends(self) -> tuple[Any, Any, Any]:
        look = self.look
        width, height = look.stored
        flags = "bicubic"
        if self.size != look.stored:
            flags = f"bicubic+{_EXACT}"
        elif look.format not in _FAST or not look.colour.is_srgb:
            flags = f"bilinear+{_EXACT}"
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=width,
            height=height,
            format=av.VideoFormat(look.format, width, height),
            time_base=fractions.Fraction(1, 1000),
        )
        scale = graph.add(
            "scale",
            f"w={self.size[0]}:h={self.size[1]}:in_color_matrix={look.matrix}:"
            f"in_range={'full' if look.full_range else 'limited'}:out_range=full:flags={flags}",
        )
        form = graph.add("format", self.format)
        sink = graph.add("buffersink")
        source.link_to(scale)
        scale.link_to(form)
        form.link_to(sink)
        graph.configure()
        return graph, source, sink

    @cached_property
    def format(self) -> str:
        if not self.look.colour.is_srgb:
            # Planes: FFmpeg's exact conversion of 4:2:0 to rgb48le is wrong, as late as in version 8.
            return "gbrp16le"
        if self.look.format == "pal8":
            return "rgba"
        parts = av.VideoFormat(self.look.format, 16, 16).components
        return "rgba" if any(part.is_alpha for part in parts) else "rgb24"

    def convert(self, frame: Any) -> NDArray[Any]:
        """(H, W, 3 or 4) uint8 of sRGB, or (3, H, W) uint16 of what is to be converted to it."""
        _, source, sink = self.ends
        source.push(frame)
        shown = sink.pull()
        if self.format != "gbrp16le":
            return np.asarray(shown.to_ndarray())
        rows = [np.frombuffer(plane, "<u2").reshape(shown.height, plane.line_size // 2) for plane in shown.planes]
        green, blue, red = (plane[:, : shown.width] for plane in rows)
        return np.stack([red, green, blue])


class Projector:
    """Turns decoded frames into pictures of one size, that of the first.

    Attributes:
        notes: Sentences about what was done to frames, without the file's name.
    """

    def __init__(self, target: tuple[int, int]):
        self.notes: dict[str, None] = {}
        self._target = target
        self._graph: _Graph | None = None
        self._converter: tuple[ColourKind, SrgbConverter] | None = None

    def show(self, frame: Any, look: Look) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB. What is transparent is laid over white; a frame of another shape gets black bars."""
        fitted = _fit(look.shown, self._target)
        if look.shown != self._target:
            sizes = f"{look.shown[0]} x {look.shown[1]} after {self._target[0]} x {self._target[1]}"
            self.notes[f"changes its size ({sizes}): all frames are scaled into the first one's."] = None
        size = fitted[::-1] if look.orientation.transposed else fitted
        if self._graph is None or self._graph.look != look or self._graph.size != size:
            self._graph = _Graph(look, size)
        image = self._graph.convert(frame)
        if image.dtype == np.uint16:
            image = self._to_srgb(image, look.colour)
        elif image.shape[2] == 4:
            image = over_white(image)
        image = look.orientation.apply(image)
        return image if fitted == self._target else _with_bars(image, self._target)

    def _to_srgb(self, image: NDArray[np.uint16], kind: ColourKind) -> NDArray[np.uint8]:
        if self._converter is None or self._converter[0] != kind:
            self._converter = kind, SrgbConverter(kind)
        return self._converter[1](image)


def over_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 4) with alpha -> (H, W, 3) over white."""
    if image[..., 3].min() == 255:
        return np.ascontiguousarray(image[..., :3])
    alpha = image[..., 3:].astype(np.uint16)
    return ((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _primaries(frame: Any, context: Any) -> int | None:
    value = getattr(frame, "color_primaries", context.color_primaries)
    return None if value is None else int(value)


def _is_full_range(frame: Any) -> bool:
    name = frame.format.name
    return int(frame.color_range) == _FULL_RANGE or name.startswith(("yuvj", "gray")) or frame.format.is_rgb


def _fit(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The largest size of this shape that fits into the target; the target itself for nearly the same shape."""
    scale = min(target[0] / size[0], target[1] / size[1])
    fitted = max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
    return target if all(abs(a - b) <= 1 for a, b in zip(fitted, target, strict=True)) else fitted


def _with_bars(image: NDArray[np.uint8], target: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    canvas = np.zeros((target[1], target[0], 3), np.uint8)
    top, left = (target[1] - height) // 2, (target[0] - width) // 2
    canvas[top : top + height, left : left + width] = image
    return canvas
