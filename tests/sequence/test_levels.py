"""Which value is white: every depth that files have, and dark pictures that must stay dark."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from spatialavatar.sequence.levels import opaque_of, to_eight_bits, white_of


def picture(top: int) -> NDArray[np.float64]:
    """(64, 64) all values from 0 to `top`, as of a photo."""
    return np.random.default_rng(0).permutation(np.linspace(0, top, 64 * 64)).reshape(64, 64)


@pytest.mark.parametrize(
    ("top", "white"),
    [
        (65535, 65535),
        (40000, 65535),
        (13107, 65535),  # A fifth of full white: an ordinary dark picture, and not 14 bits.
        (4200, 65535),
        (4095, 4095),
        (4080, 4095),  # 8 bits times 16.
        (2500, 4095),
        (1200, 4095),  # A dark picture of 12 bits.
        (1023, 1023),
        (400, 1023),
        (255, 255),
        (120, 255),
    ],
)
def test_integers_by_their_largest_value(top: int, white: int) -> None:
    for dtype in (np.uint16, np.int32, np.uint32):
        assert white_of(picture(top).astype(dtype)) == white


def test_a_dark_picture_spread_over_16_bits_stays_dark() -> None:
    """8 bits times 257 or 256 and 10 bits times 64 are steps that only spreading leaves."""
    for step, levels in ((257, 15), (256, 15), (64, 60)):
        dark = np.rint(picture(levels)).astype(np.uint16) * step
        assert dark.max() <= 4095 and white_of(dark) == 65535
    assert to_eight_bits(np.array([[15 * 257]], np.uint16), 65535)[0, 0] == 15


def test_what_the_file_says_decides() -> None:
    dark = picture(900).astype(np.uint16)
    assert white_of(dark) == 1023
    assert white_of(dark, bits=12) == 4095 and white_of(dark, bits=16) == 65535
    # A PNG that says 12 bits and is written as its specification wants it fills all 16.
    assert white_of((picture(4095).astype(np.uint16) << 4), bits=12) == 65535


def test_wider_integers() -> None:
    assert white_of(picture(2**31 - 5).astype(np.int32)) == 2**31 - 5
    assert white_of(np.full((4, 4), -5, np.int32)) == 255
    assert white_of(picture(32000).astype(np.int16)) == 32767
    assert white_of(np.array([[True]])) == 1 and white_of(np.zeros((2, 2), np.uint8)) == 255


def test_floats() -> None:
    values = picture(1000) / 1000
    assert white_of(values) == 1
    highlights = values.copy()
    highlights[:4] = 37.5  # A sixteenth of the picture is a window.
    highlights[0, :3] = np.nan, np.inf, -np.inf
    assert white_of(highlights) == 1
    assert white_of(values * 255) == 255 and white_of(values * 65535) == 65535 and white_of(values * 1e5) == 1e5
    assert white_of(np.full((3, 3), np.nan)) == 1


def test_to_eight_bits_has_no_warning_and_no_wrap() -> None:
    strange = np.array([[np.nan, np.inf, -np.inf, -0.5, 0.0, 0.5, 1.0, 7.0]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_eight_bits(strange, 1.0).tolist() == [[0, 255, 0, 0, 0, 128, 255, 255]]
    assert to_eight_bits(np.array([[-7, 70000, 255]], np.int32), 255.0).tolist() == [[0, 255, 255]]
    values = np.arange(65536, dtype=np.uint16)[None]
    slow = np.rint(np.minimum(values / 4095, 1) * 255)
    assert np.array_equal(to_eight_bits(values, 4095), slow)


@pytest.mark.parametrize("full", [255, 1023, 4095, 65535])
def test_mattes_reach_their_full_value(full: int) -> None:
    matte = np.rint(picture(full)).astype(np.uint16)
    assert opaque_of(matte) == full
    assert opaque_of(np.where(matte < full // 2, matte, full - full // 20).astype(np.uint16)) == full


def test_an_almost_empty_matte_is_not_blown_up() -> None:
    assert opaque_of(np.array([[0, 0, 3000]], np.uint16)) == 65535
    empty = np.zeros((40, 40), np.uint8)
    assert opaque_of(empty) == 255
    empty[0, 0] = 1  # Noise of an empty matte: 1 in 1,600.
    assert opaque_of(empty) == 255


def test_zeros_and_ones_are_a_mask() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 1
    assert opaque_of(mask) == 1 and to_eight_bits(mask, 1.0).max() == 255
    assert opaque_of(mask.astype(np.uint16)) == 1 and opaque_of(mask.astype(bool)) == 1
