"""An avatar and a motion in, a video or a picture out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.files import write_atomically
from spatialavatar.head.motion import Motion
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.video import write_video
from spatialavatar.splat.camera import Camera

Color = tuple[float, float, float]
WHITE: Color = (1.0, 1.0, 1.0)


def render_video(
    avatar: Avatar,
    motion: Motion,
    output: str | os.PathLike[str],
    frame_rate: float,
    *,
    size: int = 512,
    background: Color = WHITE,
    camera_of: Callable[[int], Camera] | None = None,
    progress: Progress | None = None,
) -> float:
    """Write a video (.mp4, .mov, .mkv), whole or not at all.

    Args:
        motion: T frames, already the avatar's own (see `retarget`).
        size: Pixels along the longer side, with the avatar's default camera.
        camera_of: Camera by frame, instead of the default one.

    Returns:
        Frames drawn per second, encoding left out.
    """
    front = avatar.default_camera(size)
    spent = 0.0
    with (progress or Silent()).stage("Rendering", len(motion)) as advance:

        def pictures() -> Iterator[NDArray[np.uint8]]:
            nonlocal spent
            for index in range(len(motion)):
                began = time.perf_counter()
                picture = draw(avatar, motion[index], front if camera_of is None else camera_of(index), background)
                spent += time.perf_counter() - began
                yield picture
                advance(1)

        write_video(output, pictures(), frame_rate)
    return round(len(motion) / max(spent, 1e-9), 2)


def write_picture(
    avatar: Avatar, motion: Motion, camera: Camera, output: str | os.PathLike[str], background: Color | None = WHITE
) -> None:
    """Write one frame as PNG, whole or not at all; transparent without a background."""
    with write_atomically(Path(output)) as temporary:
        Image.fromarray(draw(avatar, motion, camera, background)).save(temporary, format="PNG")


def draw(avatar: Avatar, motion: Motion, camera: Camera, background: Color | None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 over a background, or (H, W, 4) without one."""
    with torch.no_grad():
        image = avatar.render(motion, camera, None if background is None else torch.tensor(background))
    image = image if background is None else image[..., :3]
    return (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy()
