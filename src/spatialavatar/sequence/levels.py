"""Pixel values of any depth to 8 bits: which value is white, decided from the file's own words or from its values.

A file with more than 8 bits a channel rarely says how many of them are used: cameras and scanners write 10 or 12 bits
into 16, right-aligned, and no tag tells. Taken as 16 bits such a picture is 16 or 64 times too dark.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.integer[Any]] | NDArray[np.floating[Any]] | NDArray[np.bool_]

_DEPTHS = (8, 10, 12)
"""Bits that are common in 16-bit files; 14 are not among them: a quarter of full white is an ordinary dark picture."""

_SPREAD_STEP, _SPREAD_LEVELS = 64, 3
"""Values that are all multiples of this or more, such as 257 times 8 bits or 64 times 10, were spread over all 16
bits; fewer levels than three say nothing."""

_BRIGHT_PERCENTILE, _BRIGHT_FLOAT = 90.0, 16.0
"""Floats whose brightest tenth begins below this fill [0, 1] and have highlights; a picture of [0, 255] whose values
are nine tenths below 16 would be black."""

_OVERSHOOT = 1.02
"""Resampling of floats overshoots the full value by a few parts of a hundred."""

_OPAQUE = 0.9
"""A matte's largest value is its full one, or above this part of it; nothing else is known of a matte."""

_LEAST_MASK = 0.005
"""Share of ones from which a matte of zeros and ones is a mask; fewer may be noise of an empty one."""


def white_of(values: Values, bits: int | None = None) -> float:
    """The value that is full white in a picture, of the same unit as `values`.

    Integers wider than 8 bits: the bits that the file says, or else 8, 10 or 12, if the largest value fits in them and
    the values are not spread over 16 (all multiples of 64 or more); else 16 bits, or of still wider integers their own
    largest value. Floats: 1, if the brightest tenth begins below 16; else 255 or 65535, if the largest value fits;
    else that value.

    Args:
        values: Any shape; what is not finite is left out.
        bits: How many bits of each value are significant, if the file says so.
    """
    if values.dtype == np.bool_:
        return 1.0
    if np.issubdtype(values.dtype, np.floating):
        return _white_of_floats(values)
    widest = _widest(values)
    if widest <= 255:
        return float(widest)
    top = max(int(values.max(initial=0)), 0)
    for depth in _DEPTHS if bits is None else (bits,):
        if top < 2**depth <= widest:
            return float(_full_scale(top, widest) if _is_spread(values, top) else 2**depth - 1)
    return float(_full_scale(top, widest))


def opaque_of(values: Values, bits: int | None = None) -> float:
    """The value that is fully opaque in a matte: a matte of a subject reaches it, or nearly.

    Zeros and ones alone are a mask. Of integers wider than 8 bits it is 255, 1023 or 4095 where the largest value
    is that or at most a tenth below; else full scale, however small the largest value is.

    Args:
        values, bits: As of `white_of`.
    """
    if np.issubdtype(values.dtype, np.floating) or values.dtype == np.bool_ or bits is not None:
        return white_of(values, bits)
    widest = _widest(values)
    top = max(int(values.max(initial=0)), 0)
    if top == 1 and float((values == 1).mean()) >= _LEAST_MASK:
        return 1.0
    if widest <= 255:
        return float(widest)
    for depth in _DEPTHS:
        full = 2**depth - 1
        if _OPAQUE * full <= top <= full:
            return float(full)
    return float(_full_scale(top, widest))


def to_eight_bits(values: Values, white: float) -> NDArray[np.uint8]:
    """Values of any shape as uint8, rounded; what is below 0 or not a number is 0, what is above `white` is 255."""
    if values.dtype == np.uint8 and white == 255:
        return np.asarray(values, np.uint8)
    if values.dtype == np.uint16:  # By a table: a tenth of the time, and no copy in double precision.
        table = np.arange(65536, dtype=np.float64) * (255.0 / white)
        return np.asarray(np.rint(table).clip(0, 255).astype(np.uint8)[values], np.uint8)
    result = np.empty(values.shape, np.uint8)
    for first in range(0, len(values), _ROWS):
        part = np.nan_to_num(values[first : first + _ROWS].astype(np.float64), nan=0.0, posinf=white, neginf=0.0)
        result[first : first + _ROWS] = np.rint(part.clip(0, white) * (255.0 / white)).astype(np.uint8)
    return result


_ROWS = 256
"""Rows converted at a time, so that memory does not grow with eight bytes a value."""


def _widest(values: Values) -> int:
    kind: Any = values.dtype
    return int(np.iinfo(kind).max)


def _full_scale(top: int, widest: int) -> int:
    return widest if widest <= 65535 else 65535 if top <= 65535 else top


def _is_spread(values: Values, top: int) -> bool:
    levels = np.flatnonzero(np.bincount(np.clip(values, 0, None).reshape(-1), minlength=top + 1))
    levels = levels[levels > 0]
    return len(levels) >= _SPREAD_LEVELS and int(np.gcd.reduce(levels)) >= _SPREAD_STEP


def _white_of_floats(values: Values) -> float:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 1.0
    if float(np.percentile(finite, _BRIGHT_PERCENTILE)) <= _BRIGHT_FLOAT:
        return 1.0
    top = float(finite.max())
    for white in (255.0, 65535.0):
        if top <= white * _OVERSHOOT:
            return white
    return top
