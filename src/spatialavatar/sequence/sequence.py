"""TrackedSequence: one subject in some frames, with motion, cameras, images and mattes.

It is the only thing that avatars are made from, refined on and evaluated against, whichever tracker it came from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import check_file_name
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.pictures import read_matte, read_picture
from spatialavatar.splat.box import Box
from spatialavatar.splat.camera import Camera

Kind = Literal["video", "photos"]
MOST_PIXELS = 1 << 25
"""Of a frame: 7680 x 4320 and some; unpacked with alpha and converted, 400 MB."""
UNSURE_RIM = 0.025
"""Share of the source picture's shorter side at its edges, where a crop shows them, that counts as not filmed."""


class FrameSource(Protocol):
    """Where pixels come from, by the name of a frame."""

    def image(self, name: str) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB."""
        ...

    def matte(self, name: str) -> NDArray[np.uint8]:
        """(H, W) uint8: 255 where the subject is, 0 where it is not."""
        ...


@dataclass(frozen=True)
class FolderFrames:
    """Frames in `folder/images/NAME.png` (or .jpg) and `folder/mattes/NAME.png`, read when asked for."""

    folder: Path

    def image_path(self, name: str) -> Path:
        """The image's file; the .png name where neither exists."""
        png = self.folder / "images" / f"{name}.png"
        jpg = png.with_suffix(".jpg")
        return jpg if jpg.exists() and not png.exists() else png

    def matte_path(self, name: str) -> Path:
        return self.folder / "mattes" / f"{name}.png"

    def image(self, name: str) -> NDArray[np.uint8]:
        return _tracked(self.image_path(name), lambda path: read_picture(path, managed=False).colours)

    def matte(self, name: str) -> NDArray[np.uint8]:
        return _tracked(self.matte_path(name), read_matte)


@dataclass(frozen=True)
class MemoryFrames:
    """Frames held in memory."""

    images: Mapping[str, NDArray[np.uint8]]
    mattes: Mapping[str, NDArray[np.uint8]]

    def image(self, name: str) -> NDArray[np.uint8]:
        return self.images[name]

    def matte(self, name: str) -> NDArray[np.uint8]:
        return self.mattes[name]


@dataclass(frozen=True)
class TrackedSequence:
    """One subject, T frames. Metres, radians, pixels (centres at + 0.5); camera frame x right, y down, z forward.

    Attributes:
        head_edition: Edition of the head that `identity` and `motion` belong to.
        identity: (I,) identity coefficients, shared by all frames.
        motion: T frames of motion.
        camera_from_world: (T, 4, 4).
        intrinsics: (T, 3, 3), of the images as they are stored.
        width, height: Of every image, in pixels.
        frame_rate: Frames per second; 0 for photos.
        names: T frame names; also the stems of the files of a tracked folder.
        kind: "video" (frames in order of time) or "photos" (no order).
        landmarks: (T, 478, 2) MediaPipe's landmarks in pixels, NaN where none were found; or None.
        source_boxes: (T, 4) left, top, right and bottom of the source's picture in each frame, in pixels: beyond it a
            crop shows nothing that was filmed, and its matte says nothing. None where every frame is filmed all over.
        valid: (T,) bool, false where the frame's motion was not observed but filled in; None means all true.
        expression_names: What the columns of `motion.expression` are called; empty where it is not known.
        source: What it was made from, for provenance: plain JSON values.
        folder: The folder it lives in, if it does.
        frames: Where images and mattes come from.
    """

    head_edition: str
    identity: Tensor
    motion: Motion
    camera_from_world: Tensor
    intrinsics: Tensor
    width: int
    height: int
    frame_rate: float
    names: tuple[str, ...]
    kind: Kind = "video"
    landmarks: Tensor | None = None
    valid: Tensor | None = None
    source_boxes: Tensor | None = None
    expression_names: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    frames: FrameSource | None = None

    def __post_init__(self) -> None:
        count = len(self.names)
        for frame in self.names:
            # They become the names of pictures, wherever this sequence is written or drawn.
            check_file_name(frame, self.folder or "this sequence", "the name of a frame")
        shapes: list[tuple[str, Any, tuple[int | None, ...]]] = [
            ("identity", self.identity, (None,)),
            ("expression", self.motion.expression, (count, None)),
            ("camera_from_world", self.camera_from_world, (count, 4, 4)),
            ("intrinsics", self.intrinsics, (count, 3, 3)),
            ("landmarks", self.landmarks, (count, None, 2)),
            ("valid", self.valid, (count,)),
            ("source_boxes", self.source_boxes, (count, 4)),
        ]
        for name, value, expected in shapes:
            if value is not None and not shape_fits(value.shape, expected):
                raise ValueError(f"{name} must be {shape_words(expected)}, found {shape_words(value.shape)}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_valid(self) -> Tensor:
        """(T,) bool: the frames whose motion was observed."""
        return torch.ones(len(self), dtype=torch.bool) if self.valid is None else self.valid

    def camera(self, index: int) -> Camera:
        """The camera of one frame."""
        return Camera(
            camera_from_world=self.camera_from_world[index],
            intrinsics=self.intrinsics[index],
            width=self.width,
            height=self.height,
        )

    def image(self, index: int) -> Tensor:
        """(H, W, 3) uint8 sRGB."""
        return torch.from_numpy(self._checked(self._source().image(self.names[index]), index, "image"))

    def matte(self, index: int) -> Tensor:
        """(H, W) uint8: 255 where the subject is."""
        return torch.from_numpy(self._checked(self._source().matte(self.names[index]), index, "matte"))

    def filmed(self, index: int) -> Box:
        """(x0, x1, y0, y1), ends excluded: the pixels of a frame of which the source's picture tells.

        A narrow rim of that picture is left out: its last pixel is half of what lies beyond, and over the last
        hundredths mattes fade, because a network that looks for people sees no more of them there.
        """
        if self.source_boxes is None:
            return 0, self.width, 0, self.height
        left, top, right, bottom = self.source_boxes[index].tolist()
        rim = math.ceil(UNSURE_RIM * min(right - left, bottom - top))
        x0 = 0 if left <= 0 else min(self.width, math.ceil(left) + rim)
        y0 = 0 if top <= 0 else min(self.height, math.ceil(top) + rim)
        x1 = self.width if right >= self.width else max(x0, math.floor(right) - rim)
        y1 = self.height if bottom >= self.height else max(y0, math.floor(bottom) - rim)
        return x0, x1, y0, y1

    def select(self, indices: slice | Sequence[int] | Tensor) -> TrackedSequence:
        """The sequence of these frames only, in this order; pixels stay where they are."""
        if isinstance(indices, slice):
            positions = list(range(*indices.indices(len(self))))
        else:
            positions = [int(i) for i in (indices.tolist() if isinstance(indices, Tensor) else indices)]
        index = torch.tensor(positions, dtype=torch.long)
        return replace(
            self,
            motion=self.motion[index],
            camera_from_world=self.camera_from_world[index],
            intrinsics=self.intrinsics[index],
            names=tuple(self.names[i] for i in positions),
            landmarks=None if self.landmarks is None else self.landmarks[index],
            valid=None if self.valid is None else self.valid[index],
            source_boxes=None if self.source_boxes is None else self.source_boxes[index],
        )

    def _source(self) -> FrameSource:
        if self.frames is None:
            raise ValueError("this sequence carries no images; it was made without them")
        return self.frames

    def _checked(self, pixels: NDArray[np.uint8], index: int, what: str) -> NDArray[np.uint8]:
        if pixels.shape[:2] != (self.height, self.width):
            found = f"{pixels.shape[1]} x {pixels.shape[0]}"
            raise UserError(
                f"the {what} of frame {self.names[index]} is {found}, expected {self.width} x {self.height}.",
                where=self.folder,
            )
        return pixels


def shape_fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """Whether a shape is the expected one, None standing for any length."""
    return len(shape) == len(expected) and all(
        want is None or have == want for have, want in zip(shape, expected, strict=True)
    )


def shape_words(shape: Sequence[int | None]) -> str:
    """A shape as people write it: (400, 3), with * for any length."""
    return "(" + ", ".join("*" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"


def _tracked(path: Path, read: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pixels of a tracked folder, with the way out that fits one."""
    try:
        return read(path)
    except UserError as error:
        raise UserError(error.what, where=path, hint="Track the video again.") from None
