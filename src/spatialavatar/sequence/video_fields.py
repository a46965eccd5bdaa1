"""Interlaced video: two half pictures of two instants in one frame, joined into a whole one by FFmpeg's bwdif."""

from __future__ import annotations

import collections
import dataclasses
import fractions
from collections.abc import Iterable, Iterator
from typing import Any

import av

from spatialavatar.sequence.video_packets import Decoded


def deinterlaced(frames: Iterable[tuple[Any, Decoded]]) -> Iterator[tuple[Any, Decoded]]:
    """The same frames, as many; from the first one on that is marked as interlaced, such frames are deinterlaced."""
    graph: tuple[Any, Any, Any] | None = None
    kind: tuple[int, int, str] | None = None
    waiting: collections.deque[tuple[Any, Decoded]] = collections.deque()
    for context, item in frames:
        frame = item.frame
        found = (frame.width, frame.height, frame.format.name)
        if graph is not None and found != kind:
            yield from _pull(graph, waiting, flush=True)
            graph = None
        if graph is None:
            if not frame.interlaced_frame:
                yield context, item
                continue
            graph, kind = _graph(*found), found
        waiting.append((context, item))
        graph[1].push(frame)
        yield from _pull(graph, waiting, flush=False)
    if graph is not None:
        yield from _pull(graph, waiting, flush=True)


def _graph(width: int, height: int, pixel_format: str) -> tuple[Any, Any, Any]:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width,
        height=height,
        format=av.VideoFormat(pixel_format, width, height),
        time_base=fractions.Fraction(1, 1000),
    )
    # One frame out for each that goes in, and only those that are marked are changed.
    fields = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(fields)
    fields.link_to(sink)
    graph.configure()
    return graph, source, sink


def _pull(
    graph: tuple[Any, Any, Any], waiting: collections.deque[tuple[Any, Decoded]], flush: bool
) -> Iterator[tuple[Any, Decoded]]:
    if flush:
        graph[1].push(None)
    while waiting:
        try:
            frame = graph[2].pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            break
        context, item = waiting.popleft()
        yield context, dataclasses.replace(item, frame=frame)
    if flush:
        yield from waiting
        waiting.clear()
