"""Sets that are lists of clips of videos: CelebV-HQ, HDTF, VFHQ. They hold no motion: clips are cut, then tracked.

CelebV-HQ   celebvhq_info.json {clips: {NAME: {ytb_id, duration {start_sec, end_sec}, bbox {top, bottom, left, right}}}}
            beside raw/YTB_ID.mp4; boxes are shares of the picture
HDTF        *_annotion_time.txt (VIDEO.mp4 mm:ss-mm:ss ...) and *_crop_wh.txt (VIDEO_CLIP.mp4 x width y height)
            beside VIDEO.mp4; boxes are pixels
VFHQ        a folder of frames (or a video) a clip; 512 x 512 already
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.files import is_file_name
from spatialavatar.input_files import read_json, read_text
from spatialavatar.sequence.media import is_called_video
from spatialavatar.sequence.readers.base import IMAGE_SUFFIXES, Skipped, picture_problem, read_pixels
from spatialavatar.sequence.video import probe_video, read_video, write_video
from spatialavatar.text import printable

CELEBV_FILE = "celebvhq_info.json"
_EXPANDED = 0.02
LEAST_FRAMES = 2


@dataclass(frozen=True)
class ClipSpec:
    """A part of a video, in time and in the picture.

    Attributes:
        name: The clip's.
        source: A video, or a folder of frames.
        start, end: Seconds; `end` may be infinite.
        box: left, top, width, height in pixels; None for all of the picture.
    """

    name: str
    source: Path
    start: float = 0.0
    end: float = float("inf")
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class ClipList:
    """Clips that can be cut, and those that cannot and why."""

    layout: str
    clips: tuple[ClipSpec, ...]
    skipped: tuple[Skipped, ...]


def celebv_hq(folder: Path) -> ClipList:
    """The clips of CelebV-HQ whose videos are there.

    Raises:
        UserError: The JSON is missing or damaged.
    """
    contents = read_json(folder / CELEBV_FILE)
    entries = contents.get("clips") if isinstance(contents, dict) else None
    if not isinstance(entries, dict):
        raise UserError('expected clips under the key "clips".', where=folder / CELEBV_FILE)
    clips, skipped = [], []
    sizes: dict[Path, tuple[int, int] | str] = {}
    for name, entry in entries.items():
        try:
            video = str(entry["ytb_id"])
            start, end = (float(entry["duration"][key]) for key in ("start_sec", "end_sec"))
            edges = [float(entry["bbox"][key]) for key in ("top", "bottom", "left", "right")]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            skipped.append(Skipped(printable(name, 100), f"its entry lacks {printable(str(error), 60)}"))
            continue
        if not is_file_name(name) or not is_file_name(video):
            skipped.append(Skipped(printable(name, 100), "its name or its video's cannot be that of a file"))
            continue
        path = _video(folder, video)
        if path is None:
            skipped.append(Skipped(name, f"the video {video} is not there"))
            continue
        if path not in sizes:
            sizes[path] = _size(path)
        size = sizes[path]
        if isinstance(size, str):
            skipped.append(Skipped(name, size))
        elif not (0 <= start < end and edges[0] < edges[1] and edges[2] < edges[3]):
            skipped.append(Skipped(name, "its times or its box make no sense"))
        else:
            clips.append(ClipSpec(name, path, start, end, _square(edges, size)))
    return ClipList("celebvhq", tuple(clips), tuple(skipped))


def hdtf(folder: Path, only: Sequence[str] | None = None) -> ClipList:
    """The clips of HDTF whose videos are there.

    Args:
        folder: Where the lists and the videos lie.
        only: Names of the clips wanted (`Radio11_0`): the field's test lists name a few.

    Raises:
        UserError: There is no list of times, or a wanted clip is in none.
    """
    times = sorted(folder.rglob("*_annotion_time.txt"))
    if not times:
        raise UserError(
            "there is no *_annotion_time.txt here.", where=folder, hint="Copy HDTF's lists beside the videos."
        )
    boxes = _hdtf_boxes(folder)
    clips, skipped = [], []
    known = set()
    for line in (line for file in times for line in read_text(file).splitlines() if line.strip()):
        video, *spans = line.split()
        for number, span in enumerate(spans):
            name = f"{Path(video).stem}_{number}"
            known.add(name)
            if only is not None and name not in only:
                continue
            if not is_file_name(name):
                skipped.append(Skipped(printable(name, 100), "its name cannot be that of a file"))
                continue
            path, seconds = _video(folder, Path(video).stem), _span(span)
            if seconds is None:
                skipped.append(Skipped(name, f"its time {span!r} is none"))
            elif path is None:
                skipped.append(Skipped(name, f"the video {video} is not there"))
            elif name not in boxes:
                skipped.append(Skipped(name, "no *_crop_wh.txt has its box"))
            else:
                clips.append(ClipSpec(name, path, *seconds, boxes[name]))
    unknown = sorted(set(only or ()) - known)
    if unknown:
        raise UserError(f"no list of HDTF has the clip {unknown[0]!r}.", where=folder)
    return ClipList("hdtf", tuple(clips), tuple(skipped))


def vfhq(folder: Path) -> ClipList:
    """The clips of VFHQ's test set: folders of frames, or videos; nested folders are looked into.

    Raises:
        UserError: There is none.
    """
    clips, skipped = [], []
    inside = (p for p in folder.rglob("*") if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    for path in sorted([folder, *(p for p in inside if p.is_dir() or is_called_video(p))]):
        if path.is_file():
            size = _size(path)
            if isinstance(size, str):
                skipped.append(Skipped(path.stem, size))
            else:
                clips.append(ClipSpec(path.stem, path))
            continue
        frames = _frames(path)
        if len(frames) >= LEAST_FRAMES:
            broken = [(p.stem, problem) for p in frames if (problem := picture_problem(p, None)) is not None]
            if len(broken) == len(frames):
                skipped.append(Skipped(path.name, f"no frame can be read: {broken[0][1]}"))
                continue
            skipped += [Skipped(f"{path.name}/{stem}", problem) for stem, problem in broken]
            clips.append(ClipSpec(path.name, path))
    if not clips and not skipped:
        raise UserError("there is neither a folder of frames nor a video here.", where=folder)
    for name, count in Counter(clip.name for clip in clips).items():
        if count > 1:
            raise UserError(f"two clips are called {name!r}.", where=folder)
    return ClipList("vfhq", tuple(clips), tuple(skipped))


def cut(clip: ClipSpec, path: Path, *, frame_rate: float = 25.0) -> int:
    """Write a clip as a video of its own, whole or not at all, without visible loss.

    Args:
        clip: Which part of which video.
        path: The .mp4 to write.
        frame_rate: Of clips that are folders of frames.

    Returns:
        The number of frames.

    Raises:
        UserError: The part lies outside the video, or the video cannot be read.
    """
    if clip.source.is_dir():
        return write_video(path, _frame_images(clip.source), frame_rate, quality=6)
    info = probe_video(clip.source)
    frames = (cropped(frame.image, clip.box) for frame in _within(clip))
    try:
        return write_video(path, frames, info.frame_rate, quality=6)
    except UserError as error:
        if "no frames" in error.what:
            raise UserError(
                f"the clip {clip.name} starts at {clip.start:g} s, after the end of its video.", where=clip.source
            ) from None
        raise


def cropped(image: NDArray[np.uint8], box: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    """The part of a picture in a box, which the picture's border cuts; sides are made even."""
    if box is None:
        return image
    left, top, width, height = box
    height, width = min(height, image.shape[0] - top) // 2 * 2, min(width, image.shape[1] - left) // 2 * 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _within(clip: ClipSpec) -> Iterator[Any]:
    for frame in read_video(clip.source, start=max(clip.start - 1.0, 0.0)):
        if frame.time >= clip.end - 1e-6:
            return
        if frame.time >= clip.start - 1e-6:
            yield frame


def _frames(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _frame_images(folder: Path) -> Iterator[NDArray[np.uint8]]:
    for path in _frames(folder):
        if picture_problem(path, None) is None:
            yield np.ascontiguousarray(read_pixels(path)[..., :3])


def _video(folder: Path, stem: str) -> Path | None:
    for place in (folder, folder / "raw", folder / "videos", folder / "downloaded_celebvhq" / "raw"):
        for suffix in (".mp4", ".mkv", ".webm"):
            if (place / f"{stem}{suffix}").is_file():
                return place / f"{stem}{suffix}"
    return None


def _size(path: Path) -> tuple[int, int] | str:
    try:
        info = probe_video(path)
    except UserError as error:
        return f"its video {path.name} cannot be used: {error.what}"
    return info.width, info.height


def _square(edges: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Shares (top, bottom, left, right) -> left, top, width, height in pixels: widened by 2 %, then made square about
    its middle, as the set's own script does."""
    width, height = size
    top, bottom = round(max(edges[0] - _EXPANDED, 0) * height), round(min(edges[1] + _EXPANDED, 1) * height)
    left, right = round(max(edges[2] - _EXPANDED, 0) * width), round(min(edges[3] + _EXPANDED, 1) * width)
    half = min(bottom - top, right - left) // 2
    return int((left + right) / 2 - half), int((top + bottom) / 2 - half), 2 * half, 2 * half


def _hdtf_boxes(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    boxes = {}
    for file in sorted(folder.rglob("*_crop_wh.txt")):
        for line in read_text(file).splitlines():
            parts = line.split()
            if len(parts) == 5 and all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts[1:]):
                x, width, y, height = map(int, parts[1:])
                boxes[Path(parts[0]).stem] = (x, y, width, height)
    return boxes


def _span(text: str) -> tuple[float, float] | None:
    """`mm:ss-mm:ss` in seconds."""
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})-([0-9]{1,9}):([0-9]{1,9})", text)
    if found is None:
        return None
    a, b, c, d = map(int, found.groups())
    return (60.0 * a + b, 60.0 * c + d) if 60 * a + b < 60 * c + d else None
