"""What a video stream holds: the time stamps of its packets, and its frames, with what damage costs counted."""

from __future__ import annotations

import heapq
import itertools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.sequence.video_file import MOST_PIXELS, REENCODE, opened

MOST_STAMPS, MOST_BYTES = 200_000, 256 << 20
"""Where the pass over time stamps ends: packets (two hours at 25 frames/s, 1.6 MB of stamps) and bytes of video (0.3 s
from a disk's cache). A longer file's rate is that of its beginning."""

_REORDERED = 16
"""Packets by which a frame can be stored later than it is shown (H.264, A.3.1)."""

_STAMPED_AS_DECODED = frozenset({"avi"})
"""Formats that store no order of display. What FFmpeg makes up for it does not rise from frame to frame, while the
time of decoding does, from each frame that comes out of the decoder to the next."""

_TRANSPORTED = frozenset({"mpegts", "mpeg"})

_TRIES = 16
"""Read errors in a row after which the rest of a file is given up."""

_EARLY = 1.0
"""Seconds before the wanted time that are jumped to: a frame's stamp may lie before that of its key frame."""

THREADS = 0
"""Of a decoder; 0 is one for each core. The frames are the same for any number."""

_BY_SLICES = frozenset({"vp8", "vp9"})
"""Codecs that are decoded carefully with threads for slices (two: results depend on whether there are several, not on
how many). With a single thread FFmpeg's decoders of VP8 and VP9 miss damage, or keep a damaged picture as a reference:
of 60 frames of VP9, the 21st of which is noise, 21 come out, and 59 with slices. The others find more with one."""

_CAREFUL_FROM_THE_START = frozenset({"vp8"})
"""Codecs whose damage can go unnoticed, and then depends on the number of threads."""


@dataclass(frozen=True)
class Stamps:
    """The time stamps of a stream.

    Attributes:
        seconds: (N,) in order of display, as far as they were looked at.
        complete: Whether these are all.
        end: Seconds at which the last frame looked at ends.
        announced_frames: How many frames the file claims to have; 0 where it claims nothing.
        announced_end: Seconds at which the file claims to end; None where it claims nothing about the video.
        rates: Frames per second that the header claims.
        transported: Whether the format is made for transmission: what was lost on the way leaves no trace but a hole.
    """

    seconds: NDArray[np.float64]
    complete: bool
    end: float
    announced_frames: int
    announced_end: float | None
    rates: tuple[float, ...]
    transported: bool


@dataclass(frozen=True)
class Decoded:
    """A frame that came out of the decoder.

    Attributes:
        frame: PyAV's.
        stamp: Seconds; None where the file has none.
        lost: Frames right before it that could not be decoded.
    """

    frame: Any
    stamp: float | None
    lost: int


def read_stamps(container: Any, stream: Any) -> Stamps:
    """Look at the stream's packets, without decoding them. Memory: 8 bytes a packet, at most 1.6 MB."""
    base = float(stream.time_base)
    shown = array("q")
    waiting: list[int] = []
    last_end = 0
    last_decoding: int | None = None
    total_bytes = packets = 0
    complete = True
    for packet in _packets(container, stream, []):
        if not _is_frame(packet, stream):
            continue
        packets += 1
        total_bytes += packet.size
        if packets > MOST_STAMPS or total_bytes > MOST_BYTES:
            complete = False
            break
        stamp = _stamp(packet, container)
        if stamp is None:
            continue
        if last_decoding is not None and packet.dts is not None and packet.dts < last_decoding:
            # The clock was set back: what follows is not to be sorted among what came before.
            shown.extend(sorted(waiting))
            waiting.clear()
        last_decoding = packet.dts
        last_end = max(last_end, stamp + (packet.duration or 0))
        if len(waiting) < _REORDERED:
            heapq.heappush(waiting, stamp)
        else:
            shown.append(heapq.heappushpop(waiting, stamp))
    shown.extend(sorted(waiting))
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return Stamps(
        seconds=np.frombuffer(shown, np.int64).astype(np.float64) * base if shown else np.zeros(0),
        complete=complete,
        end=last_end * base,
        announced_frames=int(stream.frames or 0),
        announced_end=_announced_end(container, stream),
        rates=tuple(float(rate) for rate in rates if rate),
        transported=container.format.name in _TRANSPORTED,
    )


@dataclass
class Decoder:
    """Decodes a file's video stream, past whatever is damaged.

    Attributes:
        path: The file.
        packets: Frames that the file holds, as far as it was read.
        given: Frames that came out.
        discarded: Frames that only help to decode others; players do not show them.
        damage: Seconds (None where there is no stamp) of packets that could not be decoded.
        spoilt: Frames that came out but follow on a damaged one, before the next key frame.
        ended: Whether the end of the file was reached.
    """

    path: Path
    packets: int = 0
    given: int = 0
    discarded: int = 0
    damage: list[float | None] = field(default_factory=list)
    spoilt: int = 0
    ended: bool = False

    def frames(self, seek: float | None = None) -> Iterator[tuple[Any, Decoded]]:
        """Yield (PyAV's codec context, frame) in order of display.

        Where damage is met, decoding begins anew with a fixed number of threads, since what a decoder makes of damage
        depends on it; frames that were yielded before are not yielded again.

        Args:
            seek: Go to the last key frame a little before this time stamp in seconds, if the file allows it.
        """
        done = 0
        for careful in (False, True):
            self.packets = self.given = self.discarded = self.spoilt = 0
            self.damage.clear()
            with opened(self.path) as (container, stream):
                context = stream.codec_context
                careful = careful or context.name in _CAREFUL_FROM_THE_START
                slices = careful and context.name in _BY_SLICES
                context.thread_type = "SLICE" if slices else "AUTO"
                context.thread_count = 2 if slices else 1 if careful else THREADS
                if seek is not None:
                    _go_to(container, stream, seek - _EARLY)
                try:
                    for item in self._decoded(container, stream, careful):
                        if self.given > done:
                            done = self.given
                            yield context, item
                    self.ended = True
                    return
                except _Damage:
                    continue

    def _decoded(self, container: Any, stream: Any, careful: bool) -> Iterator[Decoded]:
        base = float(stream.time_base)
        waiting: list[int] = []
        following: set[int | None] = set()
        lost, tainted = 0, False
        for packet in itertools.chain(_packets(container, stream, self.damage if careful else None), [None]):
            stamp = None if packet is None else _stamp(packet, container)
            if packet is not None and packet.size:
                if _is_frame(packet, stream):
                    self.packets += 1
                    if packet.pts is not None:
                        heapq.heappush(waiting, packet.pts)
                else:
                    self.discarded += 1
                tainted = tainted and not packet.is_keyframe
                if tainted:
                    following.add(packet.pts)
            try:
                # None: what is left in the decoder, if no packet has flushed it already.
                frames = stream.codec_context.decode(packet)
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                if not careful:
                    raise _Damage from None
                self.damage.append(None if stamp is None else stamp * base)
                tainted = True
                continue
            for frame in frames:
                shown = _stamp(frame, container)
                seconds = None if shown is None else shown * base
                if frame.pts is not None:
                    while waiting and waiting[0] < frame.pts:
                        heapq.heappop(waiting)
                        lost += 1
                    if waiting and waiting[0] == frame.pts:
                        heapq.heappop(waiting)
                if frame.is_corrupt:
                    if not careful:
                        raise _Damage
                    self.damage.append(seconds)
                    tainted = True
                    lost += 1
                    continue
                self.given += 1
                if frame.pts is not None and frame.pts in following:
                    following.remove(frame.pts)
                    self.spoilt += 1
                yield Decoded(frame, seconds, lost if careful else 0)
                lost = 0


class _Damage(Exception):
    """Something could not be decoded."""


def nothing_decoded(path: Path) -> UserError:
    """What to say where not one frame comes out."""
    what = f"not one frame of this video can be decoded: it is damaged, or has more than {MOST_PIXELS:,} pixels."
    return UserError(what, where=path, hint=REENCODE)


def _packets(container: Any, stream: Any, failures: list[float | None] | None) -> Iterator[Any]:
    """The stream's packets, then empty ones that flush the decoder; what cannot be read is noted in `failures`.

    Raises:
        _Damage: Something cannot be read, and `failures` is None.
    """
    in_a_row = 0
    while True:
        try:
            for packet in container.demux(stream):
                in_a_row = 0
                yield packet
            return
        except (av.error.FFmpegError, OSError):
            if failures is None:
                raise _Damage from None
            failures.append(None)
            in_a_row += 1
            if in_a_row >= _TRIES:
                return


def _is_frame(packet: Any, stream: Any) -> bool:
    """Whether a packet is a frame to be seen: not one that an edit list cuts off, and no hidden reference frame."""
    if not packet.size or packet.is_discard:
        return False
    # VP8 stores alternate references as packets of their own; bit 4 of the first byte tells (RFC 6386, 9.1).
    return stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] >> 4 & 1)


def _stamp(item: Any, container: Any) -> int | None:
    """The time stamp of a packet or a frame, in units of the stream's time base."""
    if item.pts is None or container.format.name in _STAMPED_AS_DECODED:
        return None if item.dts is None else int(item.dts)
    return int(item.pts)


def _announced_end(container: Any, stream: Any) -> float | None:
    """Seconds at which the header claims that the video ends."""
    if stream.duration:
        return float((stream.start_time or 0) + stream.duration) * float(stream.time_base)
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
        return 3600 * hours + 60 * minutes + seconds
    except ValueError:
        pass
    if container.duration and len(container.streams) == 1:
        return float((container.start_time or 0) + container.duration) / av.time_base
    return None


def _go_to(container: Any, stream: Any, seconds: float) -> None:
    try:
        container.seek(int(seconds / float(stream.time_base)), stream=stream)
    except av.error.FFmpegError:
        container.seek(0)
