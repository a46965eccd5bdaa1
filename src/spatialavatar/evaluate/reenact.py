"""Self- and cross-reenactment of our avatars: pictures of an avatar in every frame, written for the scorer.

Self-reenactment (§4): the avatar is made from one frame (or K) of a video, and every later frame is predicted with that
frame's tracked motion and camera. Cross-reenactment: another person's motion drives it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.drive.recording import recording_of_sequence
from spatialavatar.drive.retarget import retarget
from spatialavatar.errors import UserError
from spatialavatar.evaluate.pictures import BACKGROUNDS, Pixels
from spatialavatar.files import write_atomically, write_json
from spatialavatar.generate.checkpoint import ready_generator
from spatialavatar.generate.feed_forward import generate_avatar
from spatialavatar.generate.texture_start import texture_start
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.input_files import read_json
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.camera import Camera

Start = Literal["texture", "generator"]
RECORD = "predictions.json"


@dataclass(frozen=True)
class Made:
    """An avatar and how long it took to make, in seconds."""

    avatar: Avatar
    seconds: float


def make_avatar(
    sequence: TrackedSequence,
    head: Head,
    frames: Sequence[int],
    start: Start,
    *,
    resolution: int = 256,
    checkpoint: Path | None = None,
) -> Made:
    """An avatar from the source frames alone, ready to be drawn.

    Args:
        sequence: The tracked frames.
        head: The head they were tracked with.
        frames: The sources, K of §3.2.
        start: The texture start, or the feed-forward generator.
        resolution: Of the texture start's UV layout; a generator brings its own.
        checkpoint: A generator's file; by default the one in the package.

    Raises:
        UserError: A source frame is not there or shows no face, or the generator is not at hand.
    """
    check_sources(sequence, frames)
    if start == "texture":
        began = time.perf_counter()
        avatar = texture_start(sequence, head, build_uv_layout(head, resolution), list(frames)).avatar
        return Made(avatar, time.perf_counter() - began)
    generator = ready_generator(checkpoint, head)
    began = time.perf_counter()
    avatar = generate_avatar(sequence, generator, frames)
    return Made(avatar, time.perf_counter() - began)


def check_sources(sequence: TrackedSequence, frames: Sequence[int]) -> None:
    """Source frames that can be used.

    Raises:
        UserError: One is not there, or shows no face.
    """
    valid = sequence.is_valid
    for frame in frames:
        if not 0 <= frame < len(sequence):
            raise UserError(
                f"there is no frame {frame}: the frames are 0 to {len(sequence) - 1}.", where=sequence.folder
            )
        if not bool(valid[frame]):
            seen = torch.nonzero(valid)[:, 0].tolist()
            hint = f"The first frame with a face is {seen[0]}." if seen else "No frame has a face."
            raise UserError(f"frame {frame} shows no face, so no avatar can be made from it.", hint=hint)


def self_targets(sequence: TrackedSequence, sources: Sequence[int]) -> tuple[int, ...]:
    """Every frame after the last source frame; frames whose motion was filled in for lack of a face are among them.

    Raises:
        UserError: There is none.
    """
    targets = tuple(range(max(sources) + 1, len(sequence)))
    if not targets:
        raise UserError(f"there is no frame after frame {max(sources)} to predict.", where=sequence.folder)
    return targets


def predict_self(
    avatar: Avatar,
    sequence: TrackedSequence,
    frames: Sequence[int],
    folder: Path,
    *,
    background: str = "white",
    settings: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> float:
    """Draw the avatar in tracked frames, with their motion and cameras; see `draw_frames`."""
    return draw_frames(
        avatar,
        sequence.motion,
        [sequence.camera(frame) for frame in range(len(sequence))],
        frames,
        [sequence.names[frame] for frame in frames],
        folder,
        background=background,
        settings=settings,
        progress=progress,
    )


def predict_cross(
    avatar: Avatar,
    driver: TrackedSequence,
    driver_head: Head,
    frames: Sequence[int],
    folder: Path,
    *,
    size: int,
    background: str = "white",
    settings: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> float:
    """Draw the avatar doing what the driver does, before its own camera; see `draw_frames`."""
    motion = retarget(recording_of_sequence(driver, driver_head), avatar)
    camera = avatar.default_camera(size)
    names = [driver.names[frame] for frame in frames]
    return draw_frames(
        avatar,
        motion,
        [camera] * len(driver),
        frames,
        names,
        folder,
        background=background,
        settings=settings,
        progress=progress,
    )


def draw_frames(
    avatar: Avatar,
    motion: Motion,
    cameras: Sequence[Camera],
    frames: Sequence[int],
    names: Sequence[str],
    folder: Path,
    *,
    background: str,
    settings: dict[str, Any] | None,
    progress: Progress | None,
) -> float:
    """Write `folder/NAME.png` for every frame, each whole or not at all.

    Args:
        avatar: Who.
        motion, cameras: T frames; `frames` picks from them.
        frames: Indices of frames to draw.
        names: Of the files, one per frame.
        folder: Where; what another run with the same settings left there stays.
        background: A key of `BACKGROUNDS`.
        settings: What the pictures depend on, as JSON values. With other settings everything is drawn anew.
        progress: Where to show how far it is.

    Returns:
        Milliseconds per frame drawn, files apart; NaN when nothing was left to draw.
    """
    progress = progress or Silent()
    folder.mkdir(parents=True, exist_ok=True)
    _forget_others(folder, {**(settings or {}), "background": background}, set(names))
    color = torch.tensor(BACKGROUNDS[background]).float() / 255
    drawn, seconds = 0, 0.0
    with progress.stage("Drawing", len(frames)) as advance, torch.no_grad():
        for frame, name in zip(frames, names, strict=True):
            path = folder / f"{name}.png"
            if not path.exists():
                began = time.perf_counter()
                picture = avatar.render(motion[frame], cameras[frame], color)[..., :3]
                seconds += time.perf_counter() - began
                drawn += 1
                save_png(to_bytes(picture), path)
            advance()
    return 1000 * seconds / drawn if drawn else float("nan")


def to_bytes(picture: torch.Tensor) -> Pixels:
    """(H, W, 3) floats to uint8."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def save_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with write_atomically(path) as temporary:
        Image.fromarray(pixels).save(temporary, compress_level=1)


def _forget_others(folder: Path, settings: dict[str, Any], names: set[str]) -> None:
    """Remove pictures that other settings left; keep those of a run that was stopped."""
    record = folder / RECORD
    same = False
    if record.exists():
        try:
            same = read_json(record) == settings
        except UserError:
            same = False
    for path in folder.glob("*.png"):
        if not same or path.stem not in names:
            path.unlink()
    write_json(record, settings)
