"""The `.motion.safetensors` file: a recording on disk (docs/driving.md describes every key)."""

from __future__ import annotations

import os
from pathlib import Path

import torch

import spatialavatar
from spatialavatar.avatar.container import read_contents, read_tensors, write_contents
from spatialavatar.drive.recording import Recording
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.folder import LARGEST_RATE
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


def read_motion(path: str | os.PathLike[str]) -> Recording:
    """Read a recording. Every tensor but `expression` may be missing and is then zero.

    Raises:
        UserError: What is wrong with the file, by key.
    """
    contents = read_contents(path, format=FORMAT, newest=VERSION, what="a motion file")
    header = contents.header
    names, rate, edition = header.get("expression_names"), header.get("frame_rate"), header.get("head_edition")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError("the header key 'expression_names' must be a list of names.", where=path)
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 < rate <= LARGEST_RATE:
        raise UserError(
            f"the header key 'frame_rate' is {printable(repr(rate), 60)}; expected frames per second, up to "
            f"{LARGEST_RATE}.",
            where=path,
        )
    if edition is not None and not isinstance(edition, str):
        raise UserError("the header key 'head_edition' must be a name or null.", where=path)
    entry = contents.entries.get("expression")
    frames = entry.shape[0] if entry is not None and entry.shape else None
    if frames == 0:
        raise UserError("this motion has no frames.", where=path)
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

    moving = motion("", len(tensors["expression"]))
    source = str(header.get("source") or Path(path).name)
    sight = tensors.get("sight", torch.eye(3))
    return Recording(moving, tuple(names), float(rate), edition, motion("rest.", 1), source, sight)
