"""A stand-in for the tracker, for tests and rehearsals of sets with many clips."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatialavatar.head.motion import Motion
from spatialavatar.prepare.clip_sets import TrackOptions, tracked_folder
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.sequence.readers.clips import ClipSpec, cut
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.video import read_video


def dry_track(name: str, piece: tuple[ClipSpec, TrackOptions], folder: Path) -> dict[str, Any]:
    """A dry run of preparing a clip: it is cut, read and written as a tracked folder, but nobody looks for a face.

    The motion is the neutral one, and the matte is where the picture is brighter than a half. Which process finished a
    clip is written down beside the folder, a line each time.
    """
    clip, _ = piece
    video = folder / "tracked" / f".{name}.mp4"
    video.parent.mkdir(parents=True, exist_ok=True)
    frames = cut(clip, video)
    images = [frame.image for frame in read_video(video)]
    video.unlink()
    height, width = images[0].shape[:2]
    sequence = TrackedSequence(
        head_edition="none",
        identity=torch.zeros(1),
        motion=Motion.neutral(frames, 1),
        camera_from_world=torch.eye(4).expand(frames, 4, 4).contiguous(),
        intrinsics=torch.eye(3).expand(frames, 3, 3).contiguous(),
        width=width,
        height=height,
        frame_rate=25.0,
        names=tuple(f"{index:05d}" for index in range(frames)),
    )
    mattes = [np.where(image.mean(-1) > 127, 255, 0).astype(np.uint8) for image in images]
    write_sequence(sequence, tracked_folder(folder, name), images, mattes, overwrite=True)
    logs = folder / "finished"
    logs.mkdir(exist_ok=True)
    with (logs / name).open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    return {"frames": frames, "bytes": 1}
