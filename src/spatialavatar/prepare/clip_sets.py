"""Sets of clips, prepared: every clip cut, tracked and packed, by several processes, exactly once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
from spatialavatar.files import write_json
from spatialavatar.prepare.jobs import Outcome, run_jobs
from spatialavatar.prepare.shards import SHARD_BYTES, write_shards
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.folder import is_tracked_folder
from spatialavatar.sequence.readers.clips import ClipList, ClipSpec, celebv_hq, cut, hdtf, vfhq
from spatialavatar.sequence.video import probe_video

SETS = ("celebvhq", "hdtf", "vfhq", "videos")
FRAMES_PER_SECOND = 5.0
"""Tracked by one process; a round figure below the 8 that docs/tracking.md measures on two quiet cores."""
BYTES_PER_FRAME = 250_000
"""Of a tracked frame of 512 x 512: PNG picture and matte."""


@dataclass(frozen=True)
class Plan:
    """What preparing a set will take, said before it starts.

    Attributes:
        clips: How many can be cut.
        skipped: How many cannot.
        frames: In all clips, where their videos say it.
        hours: On this machine with so many processes.
        gigabytes: Of tracked folders; shards take as much again.
    """

    clips: int
    skipped: int
    frames: int
    hours: float
    gigabytes: float

    def sentence(self) -> str:
        return (
            f"{self.clips} clips ({self.skipped} cannot be used), about {self.frames} frames: about {self.hours:.1f} "
            f"hours and {self.gigabytes:.1f} GB."
        )


@dataclass(frozen=True)
class TrackOptions:
    """How clips are tracked."""

    size: int = 512
    fast: bool = False


def list_clips(name: str, folder: Path, only: tuple[str, ...] = ()) -> ClipList:
    """The clips of a set.

    Args:
        name: One of `SETS`; "videos" is any folder of videos or of folders of frames.
        folder: Where the set lies.
        only: Names of the clips wanted; all by default.

    Raises:
        UserError: There is no such set, its lists are missing, or a wanted clip is not in it.
    """
    if name not in SETS:
        raise UserError(f"there is no set {name!r}.", hint=f"There are: {', '.join(SETS)}.")
    if name == "hdtf":
        return hdtf(folder, only or None)
    found = celebv_hq(folder) if name == "celebvhq" else vfhq(folder)
    if not only:
        return found
    known = {clip.name for clip in found.clips} | {item.where for item in found.skipped}
    unknown = sorted(set(only) - known)
    if unknown:
        raise UserError(f"the set has no clip {unknown[0]!r}.", where=folder)
    return ClipList(
        found.layout,
        tuple(clip for clip in found.clips if clip.name in only),
        tuple(item for item in found.skipped if item.where in only),
    )


def plan(clips: ClipList, workers: int, options: TrackOptions) -> Plan:
    """What it will take."""
    frames = sum(_frames(clip) for clip in clips.clips)
    share = (options.size / 512) ** 2
    hours = frames / (FRAMES_PER_SECOND * workers) / 3600
    return Plan(len(clips.clips), len(clips.skipped), frames, hours, frames * BYTES_PER_FRAME * share / 1e9)


def prepare_clips(
    clips: ClipList,
    output: Path,
    *,
    options: TrackOptions | None = None,
    workers: int = 1,
    again: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
    started: Callable[[int], None] = lambda pid: None,
) -> Outcome:
    """Cut and track every clip into `output/tracked`, then pack them into `output/shards`.

    A run that was stopped goes on where it was. `output/report.json` says what was done, what failed and why.

    Args:
        clips: From `list_clips`.
        output: The folder to write.
        options: Size and care of the tracking.
        workers: How many processes.
        again: Try clips that failed before once more.
        shard_bytes: Size of a shard.
        progress: Where to show how far it is.
        started: Called with the id of every process.
    """
    options, progress = options or TrackOptions(), progress or Silent()
    output.mkdir(parents=True, exist_ok=True)
    pieces = [(clip.name, (clip, options)) for clip in clips.clips]
    outcome = run_jobs(pieces, track_clip, output, workers=workers, again=again, progress=progress, started=started)
    folders = [output / "tracked" / f"{clip.name}.tracked" for clip in clips.clips if clip.name in outcome.done]
    shards = write_shards(folders, output / "shards", shard_bytes=shard_bytes) if folders else []
    write_json(
        output / "report.json",
        {
            "command": "prepare",
            "layout": clips.layout,
            **outcome.report(),
            "frames": sum(int(found.get("frames", 0)) for found in outcome.done.values()),
            "not_in_set": {item.where: item.why for item in clips.skipped},
            "shards": [path.name for path in shards],
        },
    )
    return outcome


def track_clip(name: str, piece: tuple[ClipSpec, TrackOptions], folder: Path) -> dict[str, Any]:
    """Cut one clip and track it; the cut video is not kept."""
    from spatialavatar.track import track

    clip, options = piece
    output = folder / "tracked" / f"{name}.tracked"
    output.parent.mkdir(parents=True, exist_ok=True)
    if is_tracked_folder(output):
        # Tracked by a process that died before it could say so.
        from spatialavatar.sequence.folder import read_sequence

        return {"frames": len(read_sequence(output))}
    video = folder / "tracked" / f".{name}.mp4"
    try:
        frames = cut(clip, video)
        sequence = track([video], output=output, size=options.size, fast=options.fast)
        return {"frames": frames, "frames_without_face": int((~sequence.is_valid).sum())}
    finally:
        video.unlink(missing_ok=True)


def _frames(clip: ClipSpec) -> int:
    if clip.source.is_dir():
        return sum(1 for _ in clip.source.iterdir())
    try:
        info = probe_video(clip.source)
    except UserError:
        return 0
    if math.isfinite(clip.end):
        return round((clip.end - clip.start) * info.frame_rate)
    return info.frames
