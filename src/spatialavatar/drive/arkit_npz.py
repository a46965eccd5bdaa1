"""ARKit blendshapes as arrays in an npz file (docs/driving.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.drive.arkit import arkit_recording, unmirrored_eyes
from spatialavatar.drive.arkit_names import EYE_ANGLES, HEAD_ANGLES, known_columns
from spatialavatar.drive.frame_rate import checked_rate, shown_rate
from spatialavatar.drive.plausible import plausible_columns
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.drive.time_line import ASSUMED_RATE, MOST_FRAMES
from spatialavatar.errors import UserError
from spatialavatar.input_files import read_npz
from spatialavatar.text import printable

LARGEST_MOTION = 1 << 30
"""Bytes; the most that arrays of a motion file may take: `MOST_FRAMES` of doubles."""
_KEYS = ("weights", "names", "head_angles", "eye_angles", "frame_rate")


def read_arkit_npz(path: str | os.PathLike[str], frame_rate: float | None = None) -> Recording:
    """Read arrays: `weights` (T, 52) in ARKit's order or with `names`, `head_angles` (T, 3: yaw, pitch, roll),
    `eye_angles` (T, 4: left yaw, pitch, right yaw, pitch), `frame_rate`; all but `weights` may be missing.

    Args:
        path: The file.
        frame_rate: Frames per second, whatever the file says.

    Raises:
        UserError: Which key is wrong.
    """
    content = read_npz(path, _KEYS, LARGEST_MOTION)
    names = list(ARKIT_NAMES) if "names" not in content else texts(content["names"], "names", path)
    weights = _array(content, "weights", len(names), path)
    if weights is None:
        raise UserError("the key 'weights' is missing; expected (frames, 52) numbers.", where=path)
    columns = {name: weights[:, index] for index, name in known_columns(names, str(path), "name").items()}
    for key, titles in (("head_angles", HEAD_ANGLES), ("eye_angles", EYE_ANGLES[0] + EYE_ANGLES[1])):
        angles = _array(content, key, len(titles), path)
        if angles is not None:
            if len(angles) != len(weights):
                raise UserError(f"the key '{key}' has {len(angles)} frames and 'weights' {len(weights)}.", where=path)
            columns |= {title: angles[:, index] for index, title in enumerate(titles)}
    columns, notes = plausible_columns(columns, path, lambda row: f"frame {row}")
    columns, mirrored = unmirrored_eyes(columns)
    rate, said = rate_of(content, frame_rate, ASSUMED_RATE, path)
    return arkit_recording(columns, rate, Path(path).name, notes=(*notes, *mirrored, *said))


def rate_of(
    content: Mapping[str, object],
    given: float | None,
    assumed: float,
    where: str | os.PathLike[str],
    key: str = "frame_rate",
) -> tuple[float, list[str]]:
    """The frame rate of a file with a key for it, and what is to be said about it.

    Args:
        content: The file's keys.
        given: By the caller; it wins.
        assumed: Where neither says.
        where: The file.
        key: Its name in the file.

    Raises:
        UserError: One of the two is impossible.
    """
    own = None if key not in content else checked_rate(content[key], f"the key '{key}'", where)
    if given is not None:
        rate = checked_rate(given, "the frame rate given", where)
        if own is not None and abs(own / rate - 1) > 0.01:
            return rate, [f"it says {shown_rate(own)}; the {shown_rate(rate)} given were taken instead."]
        return rate, []
    if own is None:
        return assumed, [f"it does not say its frame rate; {shown_rate(assumed)} were assumed."]
    return own, []


def texts(array: NDArray[Any], key: str, where: str | os.PathLike[str]) -> list[str]:
    """An array of names (N,) as texts.

    Raises:
        UserError: It is something else.
    """
    try:
        if array.dtype.kind == "S":
            return [bytes(name).decode("utf-8") for name in array.reshape(-1)]
        if array.dtype.kind == "U" and array.ndim <= 2:
            return [str(name) for name in array.reshape(-1)]
    except (ValueError, SystemError):  # numbers that are no characters; numpy lets CPython find that
        pass
    raise UserError(f"the key '{key}' is {described(array)}; expected names.", where=where)


def described(array: NDArray[Any]) -> str:
    """Type and shape for a message; a structured type may bear any names."""
    return printable(f"{array.dtype} {array.shape}", 80)


def finite(array: NDArray[Any], key: str, where: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Numbers of any kind as doubles that float32 can hold.

    Raises:
        UserError: They are something else, with the place of the first that is.
    """
    if array.dtype.kind not in "fiu":
        raise UserError(f"the key '{key}' is {described(array)}; expected numbers.", where=where)
    with np.errstate(over="ignore"):
        broken = ~np.isfinite(array.astype(np.float32))
    if broken.any():
        place = [int(index) for index in np.argwhere(broken)[0]]
        raise UserError(f"the key '{key}' holds values that are NaN or infinite, first at {place}.", where=where)
    return array.astype(np.float64)


def _array(
    content: Mapping[str, NDArray[Any]], key: str, width: int, path: str | os.PathLike[str]
) -> NDArray[np.float64] | None:
    if key not in content:
        return None
    value = content[key]
    if value.ndim != 2 or value.shape[1] != width or len(value) == 0 or value.dtype.kind not in "fiu":
        raise UserError(f"the key '{key}' is {described(value)}; expected numbers (frames, {width}).", where=path)
    if len(value) > MOST_FRAMES:
        raise UserError(f"the key '{key}' has {len(value):,} frames; up to {MOST_FRAMES:,} are read.", where=path)
    return finite(value, key, path)
