"""Motion as npz with FLAME's parameters under the names that trackers give them (VHAP, GaussianAvatars):

    expr (T, E), rotation (T, 3), neck_pose (T, 3), jaw_pose (T, 3), eyes_pose (T, 6), translation (T, 3)

and, where we wrote it, `neck_translation` (T, 3), `expression_names`, `head_edition`, `frame_rate`, `sight` (3, 3) and
the driver's rest under `rest_` and the same names. A file of one frame may leave out the first axis.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.drive.arkit_npz import LARGEST_MOTION, finite, rate_of, texts
from spatialavatar.drive.motion_units import in_radians
from spatialavatar.drive.recording import Recording, median_rest
from spatialavatar.drive.time_line import MOST_FRAMES
from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.input_files import read_npz

KEYS = {
    "expression": "expr",
    "global_rotation": "rotation",
    "neck_rotation": "neck_pose",
    "jaw_rotation": "jaw_pose",
    "eyes_rotation": "eyes_pose",
    "translation": "translation",
    "neck_translation": "neck_translation",
}
"""Our name of each part of a motion -> its key."""
_WIDTHS = {"eyes_rotation": 6}
_DEFAULT_RATE = 25.0
_OTHER_KEYS = ("expression_names", "head_edition", "frame_rate", "sight")


def is_flame_npz(path: str | os.PathLike[str]) -> bool:
    """Whether an npz file has FLAME's expression key; the arrays are not read."""
    try:
        with zipfile.ZipFile(path) as file:
            return "expr.npy" in file.namelist()
    except Exception:  # damaged archives fail in many ways; who reads the arrays says how
        return False


def read_flame_npz(path: str | os.PathLike[str], head: Head, frame_rate: float | None = None) -> Recording:
    """Read such a file.

    Args:
        head: Whose expressions they are, where the file does not say; missing components are zero.
        frame_rate: Overrides the file's; 25 where neither says.

    Raises:
        UserError: Which key is wrong, or the file has more expressions than the head.

    The recording's notes say what was assumed: the frame rate, and degrees where angles cannot be radians.
    """
    keys = {*KEYS.values(), *(f"rest_{key}" for key in KEYS.values()), *_OTHER_KEYS}
    content = read_npz(path, keys, LARGEST_MOTION)
    expression = _numbers(content, "expr", None, path)
    if expression is None:
        raise UserError("the key 'expr' is missing; expected (frames, expressions) numbers.", where=path)
    length, width = expression.shape
    names, edition = _owner(content, width, head, path)
    expression = torch.nn.functional.pad(expression, (0, len(names) - width))

    def motion(prefix: str, frames: int, expressions: Tensor) -> Motion:
        parts = {"expression": expressions}
        for name, key in list(KEYS.items())[1:]:
            wanted = _WIDTHS.get(name, 3)
            value = _numbers(content, prefix + key, (frames, wanted), path)
            parts[name] = torch.zeros(frames, wanted) if value is None else value
        return Motion(**parts)

    moving = motion("", length, expression)
    has_rest = any(f"rest_{key}" in content for key in KEYS.values())
    rest = motion("rest_", 1, torch.zeros(1, len(names))) if has_rest else median_rest(moving)
    sight = _numbers(content, "sight", (3, 3), path)
    rate, said = rate_of(content, frame_rate, _DEFAULT_RATE, path)
    (moving, rest), units = in_radians((moving, rest), path)
    return Recording(
        motion=moving,
        expression_names=names,
        frame_rate=rate,
        head_edition=edition,
        rest=rest,
        source=Path(path).name,
        sight=torch.eye(3) if sight is None else sight,
        notes=(*units, *said),
    )


def _owner(
    content: Mapping[str, NDArray[Any]], width: int, head: Head, path: str | os.PathLike[str]
) -> tuple[tuple[str, ...], str | None]:
    """Names of the expressions, and whose they are."""
    if "expression_names" in content:
        names = tuple(texts(content["expression_names"], "expression_names", path))
        if len(names) != width:
            raise UserError(f"'expr' has {width} columns and 'expression_names' {len(names)} names.", where=path)
        edition = "".join(texts(content["head_edition"], "head_edition", path)) if "head_edition" in content else ""
        return names, edition or None
    if head.edition.startswith("open-head"):
        raise UserError(
            f"this is motion in {width} numbered expressions of a FLAME head, and the avatar has the open head.",
            where=path,
            hint="Numbered expressions mean nothing on another head: track the driver's video again.",
        )
    if width > head.num_expressions:
        raise UserError(
            f"the key 'expr' has {width} expressions and the head {head.edition} has {head.num_expressions}.",
            where=path,
        )
    return head.expression_names, head.edition


def _numbers(
    content: Mapping[str, NDArray[Any]],
    key: str,
    shape: tuple[int, int] | None,
    path: str | os.PathLike[str],
) -> Tensor | None:
    """(T, width) float32 tensor, or None where the key is missing."""
    if key not in content:
        return None
    value = content[key]
    if value.ndim == 1:
        value = value[None]
    if value.ndim != 2 or 0 in value.shape or (shape is not None and value.shape != shape):
        expected = "(frames, expressions)" if shape is None else shape
        raise UserError(f"the key '{key}' has the shape {value.shape}; expected {expected}.", where=path)
    if len(value) > MOST_FRAMES:
        raise UserError(f"the key '{key}' has {len(value):,} frames; up to {MOST_FRAMES:,} are read.", where=path)
    return torch.from_numpy(finite(value, key, path)).float()
