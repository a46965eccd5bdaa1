"""Sets of clips, prepared: every clip cut, tracked and packed, by several processes, exactly once."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
from spatialavatar.files import only_one, write_json
from spatialavatar.input_files import read_json
from spatialavatar.prepare.jobs import RESULTS, Outcome, Result, Work, forget_result, known_results, run_jobs
from spatialavatar.prepare.shards import SHARD_BYTES, unique_keys, write_shards
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.folder import is_tracked_folder, read_sequence
from spatialavatar.sequence.readers.clips import ClipList, ClipSpec, celebv_hq, cut, hdtf, vfhq
from spatialavatar.sequence.sequence import FolderFrames
from spatialavatar.sequence.video import VideoInfo, probe_video
from spatialavatar.unfinished import tidy

SETS = ("celebvhq", "hdtf", "vfhq", "videos")
OPTIONS_FILE = "prepare.json"

# What tracking takes on one core of an AMD EPYC, before anything has been measured here (docs/datasets.md).
SECONDS_PER_CLIP = 6.0
SECONDS_PER_FRAME = 0.14
SECONDS_PER_STEP = 0.02
"""Of the photometric stage, at 512 x 512."""
BYTES_PER_FRAME = 250_000
"""Of a tracked frame of 512 x 512: PNG picture and matte."""
_LEAST_MEASURED = 3


@dataclass(frozen=True)
class Plan:
    """What preparing a set will take, said before it starts.

    Attributes:
        clips: How many can be cut.
        skipped: How many cannot.
        done: How many are done already.
        frames: In all clips that are not done yet, where their videos say it.
        hours: On this machine with so many processes, for those.
        gigabytes: Of tracked folders and shards together, for those.
        measured: Whether hours and bytes follow from the clips done here, rather than from another machine's.
        free_gigabytes: On the disk they would be written to; None where it is not known.
    """

    clips: int
    skipped: int
    done: int
    frames: int
    hours: float
    gigabytes: float
    measured: bool = False
    free_gigabytes: float | None = None

    def sentence(self) -> str:
        rest = f", {self.done} of them done before" if self.done else ""
        basis = "by what was done here so far" if self.measured else "on other machines; yours will differ"
        return (
            f"{self.clips} clips ({self.skipped} cannot be used{rest}). To do: about {self.frames} frames, "
            f"{_duration(self.hours)} and {_size(self.gigabytes)}, measured {basis}."
        )

    @property
    def fits(self) -> bool:
        """Whether there is room on the disk, as far as is known."""
        return self.free_gigabytes is None or self.gigabytes < self.free_gigabytes


@dataclass(frozen=True)
class TrackOptions:
    """How clips are tracked."""

    size: int = 512
    fast: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


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


def plan(clips: ClipList, workers: int, options: TrackOptions, output: Path | None = None) -> Plan:
    """What it will take, and what is left of it where `output` holds the beginning."""
    results = {} if output is None or not (output / RESULTS).is_dir() else _done(clips, output)
    frames = [_frames(clip) for clip in clips.clips if clip.name not in results]
    steps = [0 if options.fast else _photometric_steps(count) for count in frames]
    share = (options.size / 512) ** 2
    seconds = len(frames) * SECONDS_PER_CLIP + sum(frames) * SECONDS_PER_FRAME + sum(steps) * SECONDS_PER_STEP * share
    size = sum(frames) * BYTES_PER_FRAME * share
    known = [found for found in results.values() if found.seconds > 0 and found.report.get("frames")]
    measured = len(known) >= _LEAST_MEASURED
    if measured:
        counted = sum(int(found.report["frames"]) for found in known)
        seconds = sum(frames) * sum(found.seconds for found in known) / counted
        size = sum(frames) * sum(int(found.report.get("bytes", 0)) for found in known) / counted
    return Plan(
        len(clips.clips),
        len(clips.skipped),
        len(results),
        sum(frames),
        seconds / workers / 3600,
        2 * size / 1e9,
        measured,
        None if output is None else _free_gigabytes(output),
    )


def prepare_clips(
    clips: ClipList,
    output: Path,
    *,
    options: TrackOptions | None = None,
    workers: int = 1,
    cluster: str | None = None,
    again: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
    started: Callable[[int], None] = lambda pid: None,
    work: Work | None = None,
) -> Outcome:
    """Cut and track every clip into `output/tracked`, then pack them into `output/shards`.

    A run that was stopped goes on where it was. `output/report.json` says what was done, what failed and why. Clips
    whose tracked folder is no longer whole are done anew.

    Args:
        clips: From `list_clips`.
        output: The folder to write.
        options: Size and care of the tracking.
        workers: How many processes; with a cluster, how many clips at once.
        cluster: Address of a Ray cluster, or `cluster.LOCAL`; None: processes of this machine.
        again: Try clips that failed before once more.
        shard_bytes: Size of a shard.
        progress: Where to show how far it is.
        started: Called with the id of every process of this machine.
        work: What is done with each clip, in place of `track_clip`: a dry run, to try the machines with.

    Raises:
        UserError: The folder was begun with other options, another run is writing into it, or two clips would have
            one key in the shards.
    """
    options, progress = options or TrackOptions(), progress or Silent()
    unique_keys([clip.name for clip in clips.clips], output)
    output.mkdir(parents=True, exist_ok=True)
    with only_one(output):
        _same_options(output, {"layout": clips.layout, **options.as_dict()})
        _clear(clips, output)
        pieces = [(clip.name, (clip, options)) for clip in clips.clips]
        job = work or track_clip
        try:
            if cluster is None:
                outcome = run_jobs(
                    pieces, job, output, workers=workers, again=again, progress=progress, started=started
                )
            else:
                from spatialavatar.prepare.cluster import run_on_cluster

                outcome = run_on_cluster(
                    pieces, job, output, address=cluster, workers=workers, again=again, progress=progress
                )
        except KeyboardInterrupt:
            _clear(clips, output)  # the processes at work have been ended in the middle of a clip
            raise
        folders = [tracked_folder(output, clip.name) for clip in clips.clips if clip.name in outcome.done]
        with progress.stage("Packing") as advance:
            shards = write_shards(folders, output / "shards", shard_bytes=shard_bytes) if folders else []
            advance()
        write_json(
            output / "report.json",
            {
                "command": "prepare",
                "layout": clips.layout,
                "options": options.as_dict(),
                "clips": len(clips.clips),
                **outcome.report(),
                "frames": sum(int(found.get("frames", 0)) for found in outcome.done.values()),
                "bytes": sum(int(found.get("bytes", 0)) for found in outcome.done.values()),
                "not_in_set": {item.where: item.why for item in clips.skipped},
                "shards": [path.name for path in shards],
            },
        )
    return outcome


def tracked_folder(output: Path, name: str) -> Path:
    """Where a clip's tracked folder goes."""
    return output / "tracked" / f"{name}.tracked"


def _cut_video(output: Path, name: str) -> Path:
    """Where a clip lies while it is tracked."""
    return output / "tracked" / f".{name}.mp4"


def track_clip(name: str, piece: tuple[ClipSpec, TrackOptions], folder: Path) -> dict[str, Any]:
    """Cut one clip and track it; the cut video is not kept."""
    from spatialavatar.track import track

    clip, options = piece
    output = tracked_folder(folder, name)
    output.parent.mkdir(parents=True, exist_ok=True)
    if _is_whole(output):
        # Tracked by a process that died before it could say so.
        return {"frames": len(read_sequence(output)), "bytes": _bytes(output)}
    video = _cut_video(folder, name)
    try:
        frames = cut(clip, video)
        sequence = track([video], output=output, size=options.size, fast=options.fast, overwrite=True)
    except UserError as error:
        # The cut video is ours and gone by the time this is read.
        where = str(clip.source) if error.where in (None, str(video)) else error.where
        raise UserError(error.what, where=where, hint=error.hint) from None
    finally:
        video.unlink(missing_ok=True)
    without = int((~sequence.is_valid).sum())
    return {"frames": frames, "frames_without_face": without, "bytes": _bytes(output)}


def reason(why: str) -> str:
    """The one line of a failure that says most: what is wrong, or how a traceback ends."""
    lines = [line for line in why.splitlines() if line.strip()] or [why]
    return lines[-1].strip() if lines[0].startswith("Traceback") else lines[0]


def _photometric_steps(frames: int) -> int:
    from spatialavatar.track.photometric import PhotometricConfig

    config = PhotometricConfig()
    return max(config.fewest_steps, round(config.passes * frames))


def _same_options(output: Path, options: dict[str, Any]) -> None:
    path = output / OPTIONS_FILE
    if not path.exists():
        write_json(path, options)
    elif (found := read_json(path)) != options:
        differing = sorted(k for k in options if not isinstance(found, dict) or found.get(k) != options[k])
        key = differing[0] if differing else "layout"
        was = found.get(key) if isinstance(found, dict) else None
        raise UserError(
            f"this folder was begun with {key} {was!r}, and now it is {options.get(key)!r}.",
            where=output,
            hint="One folder holds clips that were prepared alike: choose another one with -o.",
        )


def _clear(clips: ClipList, output: Path) -> None:
    """Take away what killed processes left, and results whose products are gone or not whole."""
    # This run holds the whole folder, so that nothing in it is being written on another machine either.
    tidy(output / "tracked", every_host=True)
    names = {clip.name for clip in clips.clips}
    for path in (output / "tracked").glob(".*"):  # cut videos, and of earlier versions also half-written folders
        parts = path.name[1:].split(".")
        if any(".".join(parts[:count]) in names for count in range(1, len(parts))):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    for name in _done(clips, output):
        folder = tracked_folder(output, name)
        if not _is_whole(folder):
            forget_result(output, name)
            shutil.rmtree(folder, ignore_errors=True)


def _done(clips: ClipList, output: Path) -> dict[str, Result]:
    found = known_results([clip.name for clip in clips.clips], output)
    return {name: result for name, result in found.items() if result.failed is None}


def _is_whole(folder: Path) -> bool:
    """Whether a tracked folder has all its files; what they hold is not looked at."""
    if not is_tracked_folder(folder):
        return False
    try:
        names = read_sequence(folder).names
    except UserError:
        return False
    frames = FolderFrames(folder)
    return all(frames.image_path(name).exists() and frames.matte_path(name).exists() for name in names)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _free_gigabytes(output: Path) -> float | None:
    place = output.resolve()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free / 1e9
    except OSError:
        return None


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{max(1, round(60 * hours))} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def _size(gigabytes: float) -> str:
    if gigabytes < 1:
        return f"{max(1, round(1000 * gigabytes))} MB"
    return f"{gigabytes:.1f} GB" if gigabytes < 1000 else f"{gigabytes / 1000:.1f} TB"


@lru_cache(maxsize=4096)
def _probed(path: Path) -> VideoInfo | None:
    try:
        return probe_video(path)
    except UserError:
        return None


def _frames(clip: ClipSpec) -> int:
    if clip.source.is_dir():
        return sum(1 for _ in clip.source.iterdir())
    info = _probed(clip.source)
    if info is None:
        return 0
    if math.isfinite(clip.end):
        return round((clip.end - clip.start) * info.frame_rate)
    return info.frames
