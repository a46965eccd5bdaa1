"""A contact sheet: truth beside avatar, a line for each person and input, a column for each camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from spatialavatar.sequence.folder import save_image

SHOWN_CAMERAS = ("front", "left-8", "right-22", "left-37", "right-52", "left-75")
"""Left and right in turn, so that one line shows both sides."""
_SIDE, _LABEL, _NAME = 150, 14, 96


@dataclass(frozen=True)
class Line:
    """One line: its name, and for each camera a file with truth and avatar side by side and a note."""

    name: str
    pictures: Sequence[tuple[Path, str]]


def save_pair(target: Tensor, image: Tensor, path: Path) -> None:
    """Two pictures (H, W, 3) side by side, as PNG."""
    save_image((torch.cat([target, image], 1) * 255).round().to(torch.uint8).numpy(), path)


def contact_sheet(lines: Sequence[Line]) -> NDArray[np.uint8]:
    """(H, W, 3)"""
    columns = max((len(line.pictures) for line in lines), default=0)
    sheet = Image.new("RGB", (_NAME + columns * 2 * _SIDE, len(lines) * (_SIDE + _LABEL)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        top = row * (_SIDE + _LABEL)
        pen.multiline_text((4, top + _SIDE // 2 - 12), line.name, fill="black")
        for column, (path, note) in enumerate(line.pictures):
            left = _NAME + column * 2 * _SIDE
            with Image.open(path) as pair:
                small = pair.convert("RGB").resize((2 * _SIDE, _SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (left, top + _LABEL))
            pen.text((left + 4, top + 1), note, fill="black")
    return np.asarray(sheet)
