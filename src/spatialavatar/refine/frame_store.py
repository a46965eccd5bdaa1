"""The training frames as bytes, cropped to where the person is: decoded once, and kept as far as memory goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.box import Box, matte_box
from spatialavatar.splat.threads import threads

_AT_ONCE = 16
"""Frames that are decoded before it is asked again whether there is room for more."""
MEMORY_LIMIT = 2 << 30
"""Bytes of decoded frames that are kept: some 3,000 at 512 x 512. Longer videos stream from where they lie."""


@dataclass(frozen=True)
class StoredFrame:
    """image (3, h, w) and matte (h, w) bytes of a box; box is (x0, x1, y0, y1) in the frame, ends excluded."""

    image: Tensor
    matte: Tensor
    box: Box

    @property
    def nbytes(self) -> int:
        return self.image.numel() + self.matte.numel()


class Frames(Mapping[int, StoredFrame]):
    """Frames by index. The first ones stay in memory up to a limit; the others are decoded whenever they are asked for,
    in a thread of their own where `expect` said so beforehand."""

    def __init__(self, sequence: TrackedSequence, indices: list[int], limit: int):
        self._sequence, self._indices = sequence, indices
        self._kept: dict[int, StoredFrame] = {}
        self._decoder: ThreadPoolExecutor | None = None
        self._coming: tuple[int, Future[StoredFrame]] | None = None
        room = limit
        with ThreadPoolExecutor(threads()) as pool:
            for first in range(0, len(indices), _AT_ONCE):
                some = indices[first : first + _AT_ONCE]
                for index, stored in zip(some, pool.map(self._decode, some), strict=True):
                    room -= stored.nbytes
                    if room >= 0:
                        self._kept[index] = stored
                if room < 0:
                    self._decoder = ThreadPoolExecutor(1)
                    break

    def __getitem__(self, index: int) -> StoredFrame:
        if index in self._kept:
            return self._kept[index]
        if self._coming is not None and self._coming[0] == index:
            return self._coming[1].result()
        return self._decode(index)

    def expect(self, index: int) -> None:
        """This one is asked for soon: decode it meanwhile."""
        coming = None if self._coming is None else self._coming[0]
        if self._decoder is not None and index not in self._kept and coming != index:
            self._coming = (index, self._decoder.submit(self._decode, index))

    def replace(self, index: int, stored: StoredFrame) -> None:
        """Let `stored` stand for a frame from now on, whatever the limit."""
        self._kept[index] = stored

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def nbytes(self) -> int:
        """Of those that stay in memory."""
        return sum(stored.nbytes for stored in self._kept.values())

    def _decode(self, index: int) -> StoredFrame:
        matte = self._sequence.matte(index)
        box = matte_box(matte)
        x0, x1, y0, y1 = box
        image = self._sequence.image(index)[y0:y1, x0:x1].permute(2, 0, 1).contiguous()
        return StoredFrame(image, matte[y0:y1, x0:x1].contiguous(), box)


@dataclass(frozen=True)
class FrameStore:
    """All training frames of one sequence by frame index."""

    frames: Frames
    width: int
    height: int

    def target(self, frame: int, background: Tensor) -> Tensor:
        """The frame over `background` (3,) by its matte (Eq. 13), (H, W, 3) float."""
        stored = self.frames[frame]
        x0, x1, y0, y1 = stored.box
        # In planes, as the kernels keep images: no copy is made between here and the loss.
        color = background[:, None, None]
        target = color.expand(3, self.height, self.width).contiguous()
        alpha = stored.matte.float().mul_(1 / 255)
        target[:, y0:y1, x0:x1] = stored.image.float().mul_(1 / 255).sub_(color).mul_(alpha).add_(color)
        return target.permute(1, 2, 0)

    @property
    def nbytes(self) -> int:
        """Bytes of the frames that stay in memory."""
        return self.frames.nbytes


def load_frames(sequence: TrackedSequence, indices: list[int], limit: int = MEMORY_LIMIT) -> FrameStore:
    """Decode `indices` of `sequence`, and keep as many of them as `limit` bytes hold.

    Raises:
        UserError: A matte is empty in every frame, so there is nothing to refine on.
    """
    frames = Frames(sequence, indices, limit)
    if not any(bool(frames[index].matte.any()) for index in indices):
        raise UserError("every matte is empty: no frame shows a person.", where=sequence.folder)
    return FrameStore(frames, sequence.width, sequence.height)
