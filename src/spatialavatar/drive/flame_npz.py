"""Motion as npz with FLAME's parameters under the names that trackers give them (VHAP, GaussianAvatars):

    expr (T, E), rotation (T, 3), neck_pose (T, 3), jaw_pose (T, 3), eyes_pose (T, 6), translation (T, 3)

and, where we wrote it, `neck_translation` (T, 3), `expression_names`, `head_edition`, `frame_rate`, `sight` (3, 3) and
the driver's rest under `rest_` and the same names. A file of one frame may leave out the first axis.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.drive.recording import Recording, median_rest
from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion

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


def is_flame_npz(path: str | os.PathLike[str]) -> bool:
    """Whether an npz file has FLAME's expression key; the arrays are not read."""
    try:
        with zipfile.ZipFile(path) as file:
            return "expr.npy" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def read_flame_npz(path: str | os.PathLike[str], head: Head, frame_rate: float | None = None) -> Recording:
    """Read such a file.

    Args:
        head: Whose expressions they are, where the file does not say; missing components are zero.
        frame_rate: Overrides the file's; 25 where neither says.

    Raises:
        UserError: Which key is wrong, or the file has more expressions than the head.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise UserError("there is no such file.", where=path) from None
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"this is not a readable npz file of plain arrays ({error}).", where=path) from None
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
    return Recording(
        motion=moving,
        expression_names=names,
        frame_rate=frame_rate or _rate(content, path),
        head_edition=edition,
        rest=rest,
        source=Path(path).name,
        sight=torch.eye(3) if sight is None else sight,
    )


def _owner(
    content: dict[str, NDArray[np.generic]], width: int, head: Head, path: str | os.PathLike[str]
) -> tuple[tuple[str, ...], str | None]:
    """Names of the expressions, and whose they are."""
    if "expression_names" in content:
        names = tuple(str(name) for name in content["expression_names"].reshape(-1))
        if len(names) != width:
            raise UserError(f"'expr' has {width} columns and 'expression_names' {len(names)} names.", where=path)
        edition = str(content["head_edition"]) if "head_edition" in content else ""
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
    content: dict[str, NDArray[np.generic]],
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
    if value.dtype.kind not in "fiu" or not np.isfinite(value.astype(np.float64)).all():
        raise UserError(f"the key '{key}' holds something else than finite numbers.", where=path)
    return torch.from_numpy(value.astype(np.float32))


def _rate(content: dict[str, NDArray[np.generic]], path: str | os.PathLike[str]) -> float:
    if "frame_rate" not in content:
        return _DEFAULT_RATE
    try:
        rate = float(np.asarray(content["frame_rate"]).reshape(-1)[0])
    except (ValueError, TypeError, IndexError):
        rate = math.nan
    if not math.isfinite(rate) or rate <= 0:
        raise UserError("the key 'frame_rate' is no number of frames per second.", where=path)
    return rate
