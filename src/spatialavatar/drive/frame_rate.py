"""Frame rates: which ones are possible, and which one a measured rate stands for."""

from __future__ import annotations

import math
import os

import numpy as np

from spatialavatar.errors import UserError

LOWEST, HIGHEST = 0.1, 1000.0
"""Frames per second. Below, a file is a list of pictures; above, no camera for faces records."""
USUAL = (5.0, 250.0)
"""Frames per second outside which a rate is said, as it may come from misread time stamps."""

STANDARD = (
    *(10.0, 12.0, 12.5, 15.0, 20.0, 24_000 / 1001, 24.0, 25.0, 30_000 / 1001, 30.0, 48.0, 50.0, 60_000 / 1001, 60.0),
    *(72.0, 75.0, 90.0, 100.0, 120_000 / 1001, 120.0, 240.0),
)
"""Frames per second that cameras and programs run at."""
# A standard rate is taken for a measured one where the last frame moves by less than this many frames, and the speed
# changes by less than this share: under what anybody sees or hears.
_LARGEST_DRIFT = 0.5
_LARGEST_CHANGE = 0.005


def checked_rate(value: object, what: str, where: str | os.PathLike[str]) -> float:
    """A frame rate out of a file or from a caller.

    Args:
        value: A number, or an array of one.
        what: What it is called, for the message, such as "the key 'frame_rate'".
        where: The file.

    Raises:
        UserError: It is no number of frames per second from `LOWEST` to `HIGHEST`.
    """
    try:
        rate = float(np.asarray(value).reshape(-1)[0]) if np.size(value) == 1 else math.nan  # type: ignore[arg-type]
    except (ValueError, TypeError, IndexError, OverflowError):
        rate = math.nan
    if not LOWEST <= rate <= HIGHEST:
        found = f"{rate:g}" if math.isfinite(rate) else "no finite number"
        raise UserError(
            f"{what} is {found}; expected frames per second, from {LOWEST:g} to {HIGHEST:g}.",
            where=where,
        )
    return rate


def standard_rate(measured: float, frames: int) -> float:
    """The standard rate that a measured one stands for, such as 30 for 30.0004; itself where it is none.

    Args:
        measured: Frames per second.
        frames: How many frames there are: the longer a recording, the closer the rate must be.
    """
    nearest = min(STANDARD, key=lambda rate: abs(rate - measured))
    change = abs(nearest / measured - 1)
    return nearest if change < _LARGEST_CHANGE and change * (frames - 1) < _LARGEST_DRIFT else measured


def shown_rate(rate: float) -> str:
    """A rate for a sentence: "30 frames/s", "29.97 frames/s"."""
    return f"{rate:.2f}".rstrip("0").rstrip(".") + " frames/s"
