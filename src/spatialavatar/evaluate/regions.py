"""PSNR of parts of the picture: which pixels are face, mouth, eyes and hair of a target, and which above its chin."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from spatialavatar.evaluate.faces import (
    FACE_OVAL,
    LEFT_EYE_OUTLINE,
    LIPS_OUTLINE,
    RIGHT_EYE_OUTLINE,
    Points,
    has_face,
)

REGIONS = ("above_chin", "face", "mouth", "eyes", "hair")
IDS = {f"psnr_{name}": f"psnr.{name}.mediapipe478-1" for name in REGIONS}

# Lids and lips move beyond their outline: the outlines are widened about their middle.
_WIDENED = {"mouth": 1.25, "eyes": 1.5}
_NOSE, _CHIN = 2, 152


def region_masks(points: Points, width: int, height: int, matte: Tensor | None = None) -> dict[str, Tensor]:
    """(H, W) bool masks of `REGIONS`.

    Args:
        points: (478, 2 or 3) landmarks of the target in pixels; NaN gives empty masks.
        width, height: Of the picture.
        matte: (H, W) coverage in [0, 1]. Hair (ears with it) is what the matte covers outside the face's outline and
            above the nose; without a matte it is left out.

    Returns:
        Masks by name. `above_chin` is every row above the chin, background included, as `refine --hold-out` scores it.
    """
    empty = torch.zeros(height, width, dtype=torch.bool)
    if not has_face(points):
        return {name: empty for name in REGIONS}
    flat = points[:, :2]
    face = _polygon(flat[list(FACE_OVAL)], 1.0, width, height)
    rows = torch.arange(height)[:, None].expand(height, width)
    masks = {
        "above_chin": rows < min(max(int(flat[_CHIN, 1]), 16), height),
        "face": face,
        "mouth": _polygon(flat[list(LIPS_OUTLINE)], _WIDENED["mouth"], width, height),
        "eyes": _polygon(flat[list(RIGHT_EYE_OUTLINE)], _WIDENED["eyes"], width, height)
        | _polygon(flat[list(LEFT_EYE_OUTLINE)], _WIDENED["eyes"], width, height),
        "hair": empty,
    }
    if matte is not None:
        masks["hair"] = (matte > 0.5) & ~face & (rows < float(flat[_NOSE, 1]))
    return masks


def _polygon(points: Points, factor: float, width: int, height: int) -> Tensor:
    middle = points.mean(0)
    # Pillow's coordinates name pixels by their centres, ours by their corners.
    wide = middle + factor * (points - middle) - 0.5
    canvas = Image.new("1", (width, height))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in wide.tolist()], fill=1)
    return torch.from_numpy(np.array(canvas))
