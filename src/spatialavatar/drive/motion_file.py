"""The `.motion.safetensors` file: a recording on disk (docs/driving.md describes every key)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

import spatialavatar
from spatialavatar.avatar.container import Contents, check_tensors, read_contents, read_tensors, write_contents
from spatialavatar.drive.arkit_npz import rate_of
from spatialavatar.drive.motion_units import in_radians
from spatialavatar.drive.plausible import percent_scale
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.drive.time_line import ASSUMED_RATE, MOST_FRAMES
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.text import printable

FORMAT = "spatialavatar-motion"
VERSION = 1
SUFFIX = ".motion.safetensors"

_WIDTHS = {
    "global_rotation": 3,
    "neck_rotation": 3,
    "jaw_rotation": 3,
    "eyes_rotation": 6,
    "translation": 3,
    "neck_translation": 3,
}


def write_motion(recording: Recording, path: str | os.PathLike[str]) -> Path:
    """Write a recording, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    keys = ("expression", *_WIDTHS)
    tensors = {key: getattr(recording.motion, key) for key in keys}
    tensors |= {f"rest.{key}": getattr(recording.rest, key) for key in keys}
    header = {
        "frame_rate": recording.frame_rate,
        "expression_names": list(recording.expression_names),
        "head_edition": recording.head_edition,
        "source": recording.source,
        "package": f"spatialavatar {spatialavatar.__version__}",
    }
    tensors["sight"] = recording.sight
    tensors = {key: tensor.to(torch.float32) for key, tensor in tensors.items()}
    write_contents(path, format=FORMAT, version=VERSION, header=header, tensors=tensors)
    return Path(path)


def read_motion_header(path: str | os.PathLike[str]) -> Contents:
    """What a motion file says about itself, without reading its tensors; it has one frame or more.

    Raises:
        UserError: What is wrong with the file, by key.
    """
    contents = read_contents(path, format=FORMAT, newest=VERSION, what="a motion file")
    header = contents.header
    names, edition = header.get("expression_names"), header.get("head_edition")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError("the header key 'expression_names' must be a list of names.", where=path)
    given = header.get("frame_rate")
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise UserError(
            f"the header key 'frame_rate' is {printable(repr(given), 40)}; expected frames per second.", where=path
        )
    rate_of(header, None, ASSUMED_RATE, path)
    if edition is not None and not isinstance(edition, str):
        raise UserError("the header key 'head_edition' must be a name or null.", where=path)
    entry = contents.entries.get("expression")
    frames = entry.shape[0] if entry is not None and entry.shape else None
    check_tensors(contents, {"expression": (frames, len(names))})
    if frames == 0:
        raise UserError("this motion has no frames.", where=path)
    if frames is not None and frames > MOST_FRAMES:
        raise UserError(f"this motion has {frames:,} frames; up to {MOST_FRAMES:,} are read.", where=path)
    return contents


def read_motion(path: str | os.PathLike[str], frame_rate: float | None = None) -> Recording:
    """Read a recording. Every tensor but `expression` may be missing and is then zero.

    Args:
        path: The file.
        frame_rate: Frames per second, whatever the file says.

    Raises:
        UserError: What is wrong with the file, by key.
    """
    contents = read_motion_header(path)
    header = contents.header
    names, edition = header["expression_names"], header.get("head_edition")
    rate, said = rate_of(header, frame_rate, ASSUMED_RATE, path)
    frames = contents.entries["expression"].shape[0]
    shapes: dict[str, tuple[int | None, ...]] = {"expression": (frames, len(names))}
    shapes |= {key: (frames, width) for key, width in _WIDTHS.items() if key in contents.entries}
    rest_widths = {"expression": len(names), **_WIDTHS}
    shapes |= {f"rest.{k}": (1, width) for k, width in rest_widths.items() if f"rest.{k}" in contents.entries}
    if "sight" in contents.entries:
        shapes["sight"] = (3, 3)
    tensors = read_tensors(contents, shapes)

    def motion(prefix: str, length: int) -> Motion:
        given = {key: tensors.get(prefix + key) for key in rest_widths}
        zeros = {key: torch.zeros(length, width) for key, width in rest_widths.items()}
        return Motion(**{key: zeros[key] if value is None else value for key, value in given.items()})

    (moving, rest), units = in_radians((motion("", len(tensors["expression"])), motion("rest.", 1)), path)
    if set(names) <= set(ARKIT_NAMES):
        # What we write is exact and stays so; another program's weights may be percent.
        columns = {name: moving.expression[:, index].double().numpy() for index, name in enumerate(names)}
        scale, weighed = percent_scale(columns, path, lambda row: f"frame {row}")
        moving = replace(moving, expression=moving.expression * scale)
        units = [*weighed, *units]
    source = str(header.get("source") or Path(path).name)
    sight = tensors.get("sight", torch.eye(3))
    return Recording(moving, tuple(names), rate, edition, rest, source, sight, (*units, *said))
