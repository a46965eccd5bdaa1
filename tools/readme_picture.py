"""Make docs/images/astronaut.png, the first picture of the README, from the demo's own files.

spatialavatar demo --full -o demo-output && python tools/readme_picture.py demo-output
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.avatar.file import load_avatar
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.drive.retarget import retarget
from spatialavatar.drive.video import draw
from spatialavatar.head.motion import Motion

OUTPUT = Path(__file__).parent.parent / "docs" / "images" / "astronaut.png"
SIZE = 300

# Yaw and pitch of the head in degrees, and weights of ARKit's shapes.
VIEWS: tuple[tuple[float, float, dict[str, float]], ...] = (
    (0, 0, {}),
    (-30, 0, {}),
    (30, 0, {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}),
    (-8, 4, {"jawOpen": 0.6, "browInnerUp": 0.7, "browOuterUpLeft": 0.5, "browOuterUpRight": 0.5}),
    (10, -4, {"mouthPucker": 0.8, "browDownLeft": 0.5, "browDownRight": 0.5}),
)


def main(folder: Path) -> None:
    avatar = load_avatar(folder / "astronaut.avatar")
    camera = avatar.default_camera(2 * SIZE)
    pictures = [source(folder)]
    for yaw, pitch, weights in VIEWS:
        motion = Motion.neutral(1, len(ARKIT_NAMES))
        expression = torch.tensor([[weights.get(name, 0.0) for name in ARKIT_NAMES]])
        turned = torch.tensor([[math.radians(pitch), math.radians(yaw), 0.0]])
        recording = Recording(
            replace(motion, expression=expression, neck_rotation=0.5 * turned, global_rotation=0.5 * turned),
            ARKIT_NAMES,
            25.0,
            None,
            motion,
            "README",
        )
        pictures.append(shrunk(draw(avatar, retarget(recording, avatar), camera, (1.0, 1.0, 1.0))))
    OUTPUT.parent.mkdir(exist_ok=True)
    Image.fromarray(np.concatenate(pictures, 1)).quantize(256).save(OUTPUT, optimize=True)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size / 1024:.0f} kB")


def source(folder: Path) -> NDArray[np.uint8]:
    """The photograph as it was tracked: cropped, with its background."""
    (picture,) = sorted((folder / "astronaut.tracked" / "images").iterdir())
    return shrunk(np.asarray(Image.open(picture).convert("RGB")))


def shrunk(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))
