"""Colours of videos that are not sRGB: HDR is tone-mapped and wide gamuts are converted, as functions of code values.

Sources: ITU-R BT.2100 (transfer functions and the OOTF of HLG), BT.2408 (reference white at 203 cd/m2), BT.709,
BT.2020 and SMPTE EG 432-1 (primaries), IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Transfer = Literal["sdr", "pq", "hlg"]
Primaries = Literal["bt709", "bt2020", "p3"]

REFERENCE_WHITE = 203.0
"""cd/m2; what a sheet of white paper has in HDR (BT.2408, table 1), and what becomes white in sRGB."""

_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2
"""cd/m2 and exponent of the display that HLG is mastered on (BT.2100, table 5, note 5e and 5f)."""

_SHOULDER = 0.9
"""Linear light, white being 1, up to which nothing is changed. Above it highlights approach white: white itself comes
out 4 levels of 255 darker, so that what is a third brighter still differs from it."""

_XY = {
    # x, y of red, green, blue; the white point of all is D65.
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)

_CODES = 1 << 16
"""Code values of each channel, and entries of each table."""

_BLOCK = 1 << 15
"""Pixels that are converted at a time: 32,768 keep all steps' arrays in a core's cache."""


@dataclass(frozen=True)
class ColourKind:
    """How code values are to be understood.

    Attributes:
        transfer: "sdr" (taken for sRGB's curve, as players do), "pq" or "hlg".
        primaries: The gamut.
    """

    transfer: Transfer
    primaries: Primaries

    @property
    def is_srgb(self) -> bool:
        """Whether nothing has to be converted."""
        return self == ColourKind("sdr", "bt709")


def to_srgb(values: NDArray[Any], kind: ColourKind) -> NDArray[Any]:
    """(..., 3) code values of R'G'B' in [0, 1] -> (..., 3) sRGB in [0, 1].

    HDR light is scaled so that reference white is 1, converted to sRGB's primaries, and rolled off above 0.9; the
    largest of the three channels decides, so that hue and saturation of highlights stay. Colours outside sRGB's gamut
    are drawn towards the grey of their luminance.
    """
    linear: NDArray[Any] = _linear(np.asarray(values, np.float64), kind)
    if kind.primaries != "bt709":
        linear = linear @ conversion(kind.primaries, "bt709").T
    linear = _into_gamut(linear, _rgb_to_xyz("bt709")[1])
    if kind.transfer != "sdr":
        brightest = linear.max(-1, keepdims=True)
        linear = linear * (_rolled_off(brightest) / np.maximum(brightest, 1e-9))
    return _srgb_encoded(np.clip(linear, 0.0, 1.0))


def conversion(source: Primaries, target: Primaries) -> NDArray[Any]:
    """(3, 3) matrix from linear RGB of one gamut to that of another."""
    return np.linalg.solve(_rgb_to_xyz(target), _rgb_to_xyz(source))


class SrgbConverter:
    """`to_srgb` of pictures with 16 bits, by tables; within one level of 255 of it."""

    def __init__(self, kind: ColourKind):
        codes = np.linspace(0.0, 1.0, _CODES)
        self._kind = kind
        weights = _rgb_to_xyz(kind.primaries)[1]
        if kind.transfer == "hlg":
            self._light = _hlg_scene(codes)
            # The gain of the OOTF, by the square root of the scene's luminance: dark ones need finer steps.
            gains = np.maximum(codes**2, 1e-12) ** (_HLG_GAMMA - 1)
            self._gains = (gains * (_HLG_PEAK / REFERENCE_WHITE)).astype(np.float32)
        else:
            self._light = _linear(np.repeat(codes[:, None], 3, 1), kind)[:, 0]
        self._light = self._light.astype(np.float32)
        matrix = conversion(kind.primaries, "bt709")
        self._matrix = np.concatenate([matrix, weights[None]]).astype(np.float32)
        self._luminance = _rgb_to_xyz("bt709")[1].astype(np.float32)
        # By the square root of light, again; rounded to the nearest level.
        self._levels = np.rint(255 * _srgb_encoded(codes**2)).astype(np.uint8)

    def __call__(self, channels: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """(3, H, W) code values of R', G', B', 65535 being 1 -> (H, W, 3) sRGB."""
        pixels = channels.reshape(3, -1)
        levels = np.empty((pixels.shape[1], 3), np.uint8)
        for first in range(0, len(levels), _BLOCK):
            levels[first : first + _BLOCK] = self._block(pixels[:, first : first + _BLOCK])
        return levels.reshape(*channels.shape[1:], 3)

    def _block(self, pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
        # Channel by channel: numpy is several times as fast along long rows as along triples.
        coded = np.take(self._light, pixels)
        mixed = self._matrix @ coded
        light, luminance = mixed[:3], mixed[3]
        if self._kind.transfer == "hlg":
            light *= np.take(self._gains, _index(np.sqrt(luminance)))
        lowest = np.minimum(np.minimum(light[0], light[1]), light[2])
        outside = np.flatnonzero(lowest < 0)
        if len(outside):
            light[:, outside] = _into_gamut(light[:, outside].T, self._luminance).T
        if self._kind.transfer != "sdr":
            brightest = np.maximum(np.maximum(light[0], light[1]), light[2])
            bright = np.flatnonzero(brightest > _SHOULDER)
            if len(bright):
                light[:, bright] *= _rolled_off(brightest[bright]) / brightest[bright]
        np.clip(light, 0.0, 1.0, out=light)
        return np.take(self._levels, _index(np.sqrt(light, out=light))).T


def _linear(values: NDArray[np.float64], kind: ColourKind) -> NDArray[np.float64]:
    """Light on the display, 1 being white."""
    if kind.transfer == "pq":
        return pq_to_nits(values) / REFERENCE_WHITE
    if kind.transfer == "hlg":
        return hlg_to_nits(values, _rgb_to_xyz(kind.primaries)[1]) / REFERENCE_WHITE
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def pq_to_nits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The EOTF of PQ (BT.2100, table 4): code values in [0, 1] -> cd/m2."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = np.clip(values, 0.0, 1.0) ** (1 / m2)
    return 10000.0 * (np.maximum(power - c1, 0.0) / (c2 - c3 * power)) ** (1 / m1)


def hlg_to_nits(values: NDArray[np.float64], luma: NDArray[np.float64]) -> NDArray[np.float64]:
    """The EOTF of HLG (BT.2100, table 5) on a display of 1000 cd/m2: (..., 3) code values -> (..., 3) cd/m2."""
    scene = _hlg_scene(values)
    luminance = (scene @ luma)[..., None]
    return _HLG_PEAK * np.maximum(luminance, 1e-12) ** (_HLG_GAMMA - 1) * scene


def _hlg_scene(values: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)


def _into_gamut(light: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """(..., 3) light with negative channels -> the nearest of its hue and luminance that has none."""
    luminance = np.maximum(light @ weights, 0.0)[..., None]
    lowest = light.min(-1, keepdims=True)
    share = np.where(lowest < 0, luminance / np.maximum(luminance - lowest, 1e-9), 1.0)
    return np.maximum(luminance + share * (light - luminance), 0.0)


def _index(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest entry of a table over [0, 1]."""
    return (values * (_CODES - 1) + 0.5).astype(np.uint16)


def _rolled_off(light: NDArray[Any]) -> NDArray[Any]:
    room = 1.0 - _SHOULDER
    above = np.maximum(light - _SHOULDER, 0.0) / room
    return np.where(light <= _SHOULDER, light, _SHOULDER + room * (1.0 - np.exp(-above)))


def _srgb_encoded(linear: NDArray[Any]) -> NDArray[Any]:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-12) ** (1 / 2.4) - 0.055)


def _rgb_to_xyz(primaries: Primaries) -> NDArray[np.float64]:
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in _XY[primaries]]).T
    x, y = _D65
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    return columns * np.linalg.solve(columns, white)
