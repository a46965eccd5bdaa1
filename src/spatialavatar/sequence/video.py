"""Videos in: frames as they are meant to be seen, at a constant rate, whatever wrote the file.

Time stamps give the rate and place each frame (`video_time`), since everything downstream counts frames and not
seconds. Frames are turned and mirrored by their display matrix, stretched to square pixels, and converted to sRGB
(`video_frame`, `video_colour`). What is damaged costs its own frames (`video_packets`). What had to be assumed, left
out or repaired is said.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spatialavatar.sequence import video_animation, video_file
from spatialavatar.sequence.video_fields import deinterlaced
from spatialavatar.sequence.video_file import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from spatialavatar.sequence.video_file import opened
from spatialavatar.sequence.video_frame import FrameLooks, Look, Projector
from spatialavatar.sequence.video_packets import Decoder, Stamps, nothing_decoded, read_stamps
from spatialavatar.sequence.video_time import Clock, Jump, Timeline, count_positions, find_clock, jumps_in_words
from spatialavatar.sequence.video_write import write_video as write_video
from spatialavatar.text import printable

Warn = Callable[[str], None]

_WORTH_A_JUMP = 5.0
"""Seconds; frames before an earlier start are decoded and thrown away."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file is.

    Attributes:
        path: The file.
        width, height: Of a frame as shown, that is of square pixels and turned, in pixels.
        frame_rate: Frames per second at which `read_video` yields, by the time stamps.
        frames: Number of frames that `read_video` yields if none is damaged. Of a file too long to be looked through
            (`video_packets.MOST_STAMPS`) what its header says or its length suggests; 0 where neither is known.
        rotation: Degrees, counter-clockwise, by which stored frames are turned to be shown (0, 90, 180 or 270).
        mirrored: Whether left and right of stored frames change places, before they are turned.
        rate_is_assumed: Whether the file says nothing of its rate.
        transfer: "sdr", "hlg" or "pq"; the latter two are tone-mapped.
        primaries: "bt709", "bt2020" or "p3"; the latter two are converted.
    """

    path: Path
    width: int
    height: int
    frame_rate: float
    frames: int
    rotation: int
    mirrored: bool = False
    rate_is_assumed: bool = False
    transfer: str = "sdr"
    primaries: str = "bt709"


@dataclass(frozen=True)
class VideoFrame:
    """One frame.

    Attributes:
        index: Position in the constant-rate sequence, from 0.
        time: Seconds from the first frame, as stored in the file (not rounded to the constant rate), but without
            pauses and leaps of its clock.
        image: (H, W, 3) uint8 sRGB.
    """

    index: int
    time: float
    image: NDArray[np.uint8]


def opens_as_video(path: str | os.PathLike[str]) -> bool:
    """Whether the content is a video that `read_video` can open, whatever the name says.

    Photographs and lists of files are not; an animated picture is, with two frames or more. Whether its frames can be
    decoded shows when they are read.
    """
    return video_animation.is_animated_webp(path) or video_file.opens_as_video(path)


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Open the file, look through its time stamps, decode its first frame and say what it is.

    Raises:
        UserError: It is missing, empty, not a video, a list of other files, or no frame can be decoded.
    """
    file = Path(path)
    source = _source(file)
    with contextlib.closing(source.shots(None)) as shots:
        if next(shots, None) is None:
            raise nothing_decoded(file)
    look = source.first_look
    mirrored, rotation = (False, 0) if look is None else look.orientation.turn
    width, height = source.size
    return VideoInfo(
        path=file,
        width=width,
        height=height,
        frame_rate=source.clock.rate,
        frames=source.frames,
        rotation=rotation,
        mirrored=mirrored,
        rate_is_assumed=source.clock.assumed,
        transfer="sdr" if look is None else look.colour.transfer,
        primaries="bt709" if look is None else look.colour.primaries,
    )


def read_video(
    path: str | os.PathLike[str],
    *,
    every: int = 1,
    max_frames: int | None = None,
    start: float = 0.0,
    keep_count: bool = False,
    warn: Warn | None = None,
) -> Iterator[VideoFrame]:
    """Decode a video at a constant frame rate.

    The rate is that of the time stamps while the picture moves (`video_time.find_clock`), and the stamps place frames
    on its grid. Where a file of variable rate leaves a position empty the frame on screen at that time is repeated;
    where two fall on one the later wins. A file of constant rate yields each of its frames once. Pauses and leaps of
    more than 30 steps are left out, so at most 30 frames are yielded for each that is decoded. Frames that cannot be
    decoded are left out, too, and leave no gap, unless `keep_count` asks for the ones before in their place.

    Args:
        path: The file.
        every: Yield every n-th grid position only.
        max_frames: Stop after so many yielded frames.
        start: Seconds from the first frame before which nothing is yielded; a late start is jumped to. Indices and
            times are those of the whole video.
        keep_count: Whether a frame's index stays its number in the file past frames that cannot be decoded. Frames of
            several cameras need it that belong together by number.
        warn: Called at the end with a sentence for each of these: frames that cannot be decoded, an end before the
            announced one (not with a late start), pauses and leaps left out, an assumed rate, sizes that change,
            several video streams, and anything about shape or colours that is not understood.

    Raises:
        UserError: As `probe_video`; also when not one frame can be decoded.
    """
    if every < 1:
        raise ValueError("every must be at least 1")
    file = Path(path)
    source = _source(file)
    timeline = Timeline(source.clock, close_up=not keep_count)
    next_index = max(math.ceil((start - 1e-6) * source.clock.rate), 0) if start > 0 else 0
    shots: Iterator[_Shot] = source.shots(None)
    if start > _WORTH_A_JUMP and source.can_jump:
        jumped = _jumped(source, start)
        if jumped is not None:
            timeline.origin, shots = jumped
    yielded = 0
    held: tuple[int, float, _Shot] | None = None
    for shot in shots:
        time, position = timeline.place(shot.stamp, shot.lost)
        if held is not None:
            for frame in _due(held, next_index, position, every):
                yield frame
                yielded += 1
                if max_frames is not None and yielded >= max_frames:
                    _say(source.notes(timeline, whole=False), warn)
                    return
            next_index = max(next_index, position)
        held = (position, time, shot)
    if held is None and start <= 0:
        raise nothing_decoded(file)
    if held is not None:
        for frame in _due(held, next_index, held[0] + 1, every):
            yield frame
            yielded += 1
            if max_frames is not None and yielded >= max_frames:
                break
    _say(source.notes(timeline, whole=start <= 0), warn)


@dataclass(frozen=True)
class _Shot:
    """A frame to be placed: its stamp, how many before it are lost, and how to get its picture."""

    stamp: float | None
    lost: int
    picture: Callable[[], NDArray[np.uint8]]


class _Recording:
    """A file that FFmpeg decodes."""

    def __init__(self, path: Path):
        self.path = path
        with opened(path) as (container, stream):
            self.stamps = read_stamps(container, stream)
            self._several = video_file.other_streams(container, stream)
            self._looks = FrameLooks(getattr(stream, "sample_aspect_ratio", None))
        self.clock = find_clock(self.stamps.seconds, self.stamps.rates)
        count, self._jumps = count_positions(self.stamps.seconds, self.clock)
        self.frames = count if self.stamps.complete and count else _guessed_frames(self.stamps, self.clock)
        self.first_look: Look | None = None
        self._projector: Projector | None = None
        self._decoder = Decoder(path)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown; known once a frame is decoded."""
        assert self.first_look is not None
        return self.first_look.shown

    @property
    def can_jump(self) -> bool:
        """Whether time stamps lead to where a time from the first frame lies."""
        return self.clock.trusted and not self._jumps

    def shots(self, seek: float | None) -> Generator[_Shot, None, None]:
        for context, item in deinterlaced(self._decoder.frames(seek)):
            look = self._looks.look(item.frame, context)
            if self.first_look is None or self._projector is None:
                self.first_look, self._projector = look, Projector(look.shown)
            yield _Shot(item.stamp, item.lost, partial(self._projector.show, item.frame, look))

    def notes(self, timeline: Timeline, whole: bool) -> list[str]:
        """Sentences about what was assumed, left out or repaired; `whole`: the file was read from its beginning on."""
        name, decoder = printable(self.path.name), self._decoder
        about = [self._several] if self._several else []
        about += [*self._looks.notes, *(self._projector.notes if self._projector else ())]
        notes = [f"{name} {note}" for note in about]
        if self.clock.assumed and decoder.given > 1:
            notes.append(f"{name} has no usable time stamps: {self.clock.rate:g} frames per second are assumed.")
        elif timeline.guessed > _DELAYED:
            notes.append(f"{timeline.guessed:,} frames of {name} have no time stamp: equal steps are assumed.")
        if timeline.jumps:
            notes.append(jumps_in_words(name, timeline.jumps))
        if self.stamps.transported and timeline.filled:
            where = ", ".join(f"{time:.1f}" for time in timeline.holes[:5]) + (
                ", ..." if len(timeline.holes) > 5 else ""
            )
            notes.append(
                f"{timeline.filled:,} frames of {name} are missing (near second {where}; lost in transmission, or "
                "damaged): the one before is shown in their place."
            )
        return notes + self._damage(whole and decoder.ended)

    def _damage(self, whole: bool) -> list[str]:
        decoder, name = self._decoder, printable(self.path.name)
        ends_early = self._ends_early() if whole else []
        total = decoder.packets
        if whole and not ends_early:
            # A packet of noise can be swallowed by the one before it.
            total = max(total, self.stamps.announced_frames - decoder.discarded)
        lost = total - decoder.given
        if ends_early and lost <= 1:
            return ends_early  # The cut went through a packet.
        if decoder.damage and lost > 0:
            origin = self.stamps.seconds[0] if len(self.stamps.seconds) else 0.0
            places = sorted({round(max(stamp - origin, 0.0), 1) for stamp in decoder.damage if stamp is not None})
            where = ", ".join(f"{place:.1f}" for place in places[:5]) + (", ..." if len(places) > 5 else "")
            near = f" (damage near second {where})" if places else ""
            after = (
                f"; {decoder.spoilt:,} that follow, up to the next key frame, may be spoilt" if decoder.spoilt else ""
            )
            return [f"{lost:,} of {total:,} frames of {name} could not be decoded{near}{after}.", *ends_early]
        if whole and not ends_early and lost > 1 + _UNNOTICED * total:
            return [f"{lost:,} of {total:,} frames of {name} could not be decoded."]
        return ends_early

    def _ends_early(self) -> list[str]:
        decoder, stamps, name = self._decoder, self.stamps, printable(self.path.name)
        held, announced, end = decoder.packets + decoder.discarded, stamps.announced_frames, stamps.announced_end
        if announced:
            if held >= (1 - _UNNOTICED) * announced - 1:
                return []
            found = f"{decoder.given} of {announced} frames can be decoded"
        else:
            if end is None or not stamps.complete or stamps.end >= (1 - _UNNOTICED) * end - 1:
                return []
            found = f"it has {stamps.end:.1f} of {end:.1f} seconds"
        return [f"{name} ends early: {found} (is the file truncated?)."]


_DELAYED = 16
"""Frames that may lack a time stamp without a word: so many can be left in a decoder at the end, and those of an AVI
file come out without one."""

_UNNOTICED = 0.02
"""Share of frames or seconds that may be missing without a word: a file of constant rate may announce one more than
can be shown, and one that is cut out of another begins with frames that need some before them."""


class _Animation:
    """An animated WebP, which Pillow decodes."""

    first_look: Look | None = None
    can_jump = False

    def __init__(self, path: Path):
        self.path = path
        self.size = video_animation.open_size(path)
        self._times = video_animation.frame_times(path)
        self.clock = find_clock(self._times)
        self.frames = count_positions(self._times[:-1], self.clock)[0]
        self._given = 0

    def shots(self, seek: float | None) -> Generator[_Shot, None, None]:
        self._given = 0
        for time, picture in zip(self._times[:-1].tolist(), video_animation.frames(self.path), strict=False):
            self._given += 1
            yield _Shot(time, 0, partial(np.asarray, picture))

    def notes(self, timeline: Timeline, whole: bool) -> list[str]:
        name = printable(self.path.name)
        notes = [jumps_in_words(name, timeline.jumps)] if timeline.jumps else []
        count = len(self._times) - 1
        if whole and self._given < count:
            notes.append(f"{name} ends early: {self._given} of {count} frames can be decoded (is the file truncated?).")
        return notes


def _source(path: Path) -> _Recording | _Animation:
    return _Animation(path) if video_animation.is_animated_webp(path) else _Recording(path)


def _guessed_frames(stamps: Stamps, clock: Clock) -> int:
    if stamps.announced_frames:
        return stamps.announced_frames
    begin = float(stamps.seconds[0]) if len(stamps.seconds) else 0.0
    return 0 if stamps.announced_end is None else max(round((stamps.announced_end - begin) * clock.rate), 1)


def _jumped(source: _Recording | _Animation, start: float) -> tuple[float, Iterator[_Shot]] | None:
    """The first frame's stamp, and decoding from the last key frame before `start` seconds after it; None where that
    cannot be done."""
    with contextlib.closing(source.shots(None)) as shots:
        first = next(shots, None)
    if first is None or first.stamp is None:
        return None
    origin = first.stamp
    shots = source.shots(origin + start)
    landed = next(shots, None)
    if landed is None or landed.stamp is None or landed.stamp - origin > start:
        return None

    def rest() -> Iterator[_Shot]:
        yield landed
        yield from shots

    return origin, rest()


def _due(held: tuple[int, float, _Shot], first: int, until: int, every: int) -> Iterator[VideoFrame]:
    """The held frame, at every grid position from `first` to before `until` that `every` selects."""
    image: NDArray[np.uint8] | None = None
    for index in range(-(-first // every) * every, until, every):
        image = held[2].picture() if image is None else image
        yield VideoFrame(index // every, held[1], image)


def _say(notes: list[str], warn: Warn | None) -> None:
    if warn is not None:
        for note in notes:
            warn(note)


__all__ = [
    "VIDEO_SUFFIXES",
    "Jump",
    "VideoFrame",
    "VideoInfo",
    "Warn",
    "opens_as_video",
    "probe_video",
    "read_video",
    "write_video",
]
