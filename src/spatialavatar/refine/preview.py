"""Pictures by which a person judges an avatar at one look."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.files import write_atomically
from spatialavatar.products import SOFTWARE
from spatialavatar.splat.render import render

YAWS_DEGREES = (-60, -45, -20, 0, 20, 45, 60)
EXPRESSIONS: dict[str, dict[str, float]] = {
    "jaw open": {"jawOpen": 0.8},
    "blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "smile": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    "brows up": {"browInnerUp": 0.9, "browOuterUpLeft": 0.9, "browOuterUpRight": 0.9},
    "pucker": {"mouthPucker": 0.9},
    "look left": {"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8},
    "frown": {"browDownLeft": 0.9, "browDownRight": 0.9, "mouthFrownLeft": 0.8, "mouthFrownRight": 0.8},
}


def save_picture(picture: Tensor, path: Path) -> None:
    """Write (H, W, 3) floats in [0, 1] as a PNG that names the program, whole or not at all."""
    name = PngInfo()
    name.add_text("Software", SOFTWARE)
    pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    with write_atomically(path) as temporary:
        # Takes half as long as the default level, for files a tenth larger.
        Image.fromarray(pixels).save(temporary, compress_level=3, pnginfo=name)


def contact_sheet(avatar: Avatar, size: int = 256) -> Tensor:
    """Two rows on white: yaw from -60 to +60 degrees, then seven expressions. (2 size, 7 size, 3)."""
    white = torch.ones(3)
    views, faces = [], []
    with torch.no_grad():
        world = avatar.pose(avatar.rest)
        for yaw in YAWS_DEGREES:
            camera = avatar.default_camera(size, yaw=math.radians(yaw))
            views.append(render(world, camera, white).image.clamp(0, 1))
        names = avatar.head.expression_names
        for weights in EXPRESSIONS.values():
            expression = torch.zeros_like(avatar.rest.expression)
            for name, weight in weights.items():
                if name in names:
                    expression[:, names.index(name)] = weight
            world = avatar.pose(replace(avatar.rest, expression=expression))
            faces.append(render(world, avatar.default_camera(size), white).image.clamp(0, 1))
    return torch.cat([torch.cat(views, 1), torch.cat(faces, 1)], 0)
