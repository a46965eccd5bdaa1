"""The same frames at half their size: where the first steps of a short run are taken, for half the price (ours).

What the first steps learn, colours and what stands where, is coarse, and a picture of a quarter of the pixels says it
as well. Nothing else changes: the Gaussians are the same, and log-scales are frozen for most of that time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.refine.frame_store import MEMORY_LIMIT, Frames, FrameStore, StoredFrame
from spatialavatar.sequence.sequence import TrackedSequence


def can_be_halved(sequence: TrackedSequence) -> bool:
    """Whether two by two pixels become one with none left over."""
    return sequence.width % 2 == 0 and sequence.height % 2 == 0


def halved_sequence(sequence: TrackedSequence) -> TrackedSequence:
    """Cameras, landmarks and boxes of the same frames at half their size; the pixels are left to `HalvedFrames`."""
    shrink = sequence.intrinsics.new_tensor([[0.5], [0.5], [1.0]])
    return replace(
        sequence,
        intrinsics=sequence.intrinsics * shrink,
        width=sequence.width // 2,
        height=sequence.height // 2,
        landmarks=None if sequence.landmarks is None else sequence.landmarks / 2,
        source_boxes=None if sequence.source_boxes is None else sequence.source_boxes / 2,
    )


class HalvedFrames(Frames):
    """Stored frames at half their size. Those that are asked for are kept, as far as a quarter of the limit goes."""

    def __init__(self, frames: Mapping[int, StoredFrame], limit: int = MEMORY_LIMIT // 4):
        self._frames, self._room = frames, limit
        self._halved: dict[int, StoredFrame] = {}

    def __getitem__(self, index: int) -> StoredFrame:
        if index in self._halved:
            return self._halved[index]
        halved = halved_frame(self._frames[index])
        if halved.nbytes <= self._room:
            self._room -= halved.nbytes
            self._halved[index] = halved
        return halved

    def expect(self, index: int) -> None:
        if isinstance(self._frames, Frames) and index not in self._halved:
            self._frames.expect(index)

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def nbytes(self) -> int:
        return sum(stored.nbytes for stored in self._halved.values())


def halved_store(store: FrameStore) -> FrameStore:
    """A store's frames at half their size."""
    return FrameStore(HalvedFrames(store.frames), store.width // 2, store.height // 2)


def halved_frame(stored: StoredFrame) -> StoredFrame:
    """Means of two by two pixels of the frame as it stands over a background: colours count by their matte."""
    x0, x1, y0, y1 = stored.box
    # To whole pairs of pixels of the frame, which is even: what is added is nobody's.
    padding = (x0 % 2, x1 % 2, y0 % 2, y1 % 2)
    image = functional.pad(stored.image.float(), padding)
    matte = functional.pad(stored.matte.float(), padding)
    shares = _means(matte[None])
    colors = _means(image * matte) / shares.clamp_min(1e-6)
    box = (x0 // 2, (x1 + 1) // 2, y0 // 2, (y1 + 1) // 2)
    return StoredFrame(_bytes(colors), _bytes(shares)[0], box)


def _means(planes: Tensor) -> Tensor:
    """(C, h, w) -> (C, h / 2, w / 2)."""
    return functional.avg_pool2d(planes, 2)


def _bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
