"""Pairs of pictures to be scored: predictions, and the targets they are held against.

Everything is scored from 8-bit pictures, ours as well as other people's, so that one ruler measures all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.sequence.pictures import read_matte, read_picture
from spatialavatar.sequence.sequence import TrackedSequence

Pixels = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)}


@dataclass(frozen=True)
class Pair:
    """One frame.

    Attributes:
        prediction, target: (H, W, 3) uint8 sRGB.
        matte: (H, W) uint8 of the target, 255 where the subject is; None where it is not known.
        landmarks: (478, 2) of the target in pixels as its tracker found them, NaN where it found none; None where
            there was no tracker.
    """

    prediction: Pixels
    target: Pixels
    matte: Pixels | None
    landmarks: NDArray[np.float32] | None = None


class Pictures(Protocol):
    """The frames of one clip that have both a prediction and a target."""

    @property
    def clip(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def consecutive(self) -> NDArray[np.bool_]:
        """(T,) whether a frame follows the one before it without a gap."""
        ...

    @property
    def missing(self) -> tuple[str, ...]:
        """Targets without a prediction."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when any picture does."""
        ...

    @property
    def has_landmarks(self) -> bool:
        """Whether pairs bring the target's landmarks."""
        ...

    def pair(self, index: int) -> Pair: ...


@dataclass(frozen=True)
class FolderPictures:
    """Predictions in a folder against targets in a folder; frames are matched by their names without suffix."""

    predictions: Path
    targets: Path
    mattes: Path | None = None
    background: str = "white"
    has_landmarks: bool = False

    @property
    def clip(self) -> str:
        return self.targets.name

    @cached_property
    def _files(self) -> dict[str, tuple[Path, Path]]:
        ours, theirs = pictures_in(self.predictions), pictures_in(self.targets)
        both = {name: (ours[name], path) for name, path in theirs.items() if name in ours}
        if not both:
            raise UserError(
                f"no picture here has the name of one in {self.targets} ({_some(ours)} against {_some(theirs)}).",
                where=self.predictions,
                hint="Predictions and targets are matched by name: 00012.png belongs to 00012.png or 00012.jpg.",
            )
        return both

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._files)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in pictures_in(self.targets) if name not in self._files)

    @property
    def consecutive(self) -> NDArray[np.bool_]:
        order = {name: index for index, name in enumerate(pictures_in(self.targets))}
        return follows([order[name] for name in self.names])

    @property
    def fingerprint(self) -> str:
        files = [file for pair in self._files.values() for file in pair]
        return fingerprint_of(files, self.background, str(self.mattes))

    def pair(self, index: int) -> Pair:
        ours, theirs = self._files[self.names[index]]
        color = BACKGROUNDS[self.background]
        prediction, target = read_over(ours, color), read_over(theirs, color)
        matte = None
        if self.mattes is not None:
            matte = read_matte(self.mattes / f"{theirs.stem}.png")
        check_sizes(prediction, target, ours, theirs)
        return Pair(prediction, target, matte)


@dataclass(frozen=True)
class SequencePictures:
    """Predictions in a folder, named as the frames of a tracked sequence, which are the targets, over a background."""

    predictions: Path
    sequence: TrackedSequence
    frames: tuple[int, ...]
    background: str = "white"
    label: str = ""

    @property
    def clip(self) -> str:
        return self.label or (self.sequence.folder.stem if self.sequence.folder is not None else "clip")

    @property
    def has_landmarks(self) -> bool:
        return self.sequence.landmarks is not None

    @cached_property
    def _found(self) -> dict[str, Path]:
        return pictures_in(self.predictions)

    @cached_property
    def _indices(self) -> tuple[int, ...]:
        return tuple(index for index in self.frames if self.sequence.names[index] in self._found)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sequence.names[index] for index in self._indices)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(self.sequence.names[i] for i in self.frames if self.sequence.names[i] not in self._found)

    @property
    def consecutive(self) -> NDArray[np.bool_]:
        return follows(self._indices)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of([self._found[name] for name in self.names], self.background, str(self.sequence.folder))

    def pair(self, index: int) -> Pair:
        frame = self._indices[index]
        path = self._found[self.names[index]]
        prediction = read_over(path, BACKGROUNDS[self.background])
        target, matte = target_of(self.sequence, frame, self.background)
        check_sizes(prediction, target, path, self.sequence.folder or Path(self.clip))
        if self.sequence.source_boxes is not None:
            prediction, target = (self._only_filmed(picture, frame) for picture in (prediction, target))
        landmarks = self.sequence.landmarks
        return Pair(prediction, target, matte, None if landmarks is None else landmarks[frame].numpy())

    def _only_filmed(self, picture: Pixels, frame: int) -> Pixels:
        """A picture with nothing but background beyond the source's own: there a frame tells nothing."""
        x0, x1, y0, y1 = self.sequence.filmed(frame)
        result = np.empty_like(picture)
        result[:] = np.array(BACKGROUNDS[self.background], np.uint8)
        result[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
        return result


def target_of(sequence: TrackedSequence, frame: int, background: str) -> tuple[Pixels, Pixels]:
    """A tracked frame over a background by its matte, (H, W, 3) uint8, and the matte (H, W)."""
    matte = sequence.matte(frame).numpy()
    return over(sequence.image(frame).numpy(), matte, BACKGROUNDS[background]), matte


def over(image: Pixels, matte: Pixels, color: Sequence[int]) -> Pixels:
    """(H, W, 3) straight colours over one colour by a matte (H, W)."""
    alpha = matte[..., None].astype(np.float32) / 255
    return np.rint(image * alpha + np.array(color, np.float32) * (1 - alpha)).astype(np.uint8)


def pictures_in(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by name without suffix, in order of name.

    Raises:
        UserError: It is no folder, holds no picture, or two of one name.
    """
    if not folder.is_dir():
        raise UserError("this folder of pictures does not exist.", where=folder)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise UserError(f"two pictures have one name: {found[path.stem].name} and {path.name}.", where=folder)
        found[path.stem] = path
    if not found:
        raise UserError(f"there is no picture in this folder ({', '.join(SUFFIXES)}).", where=folder)
    return found


def read_over(path: Path, color: Sequence[int]) -> Pixels:
    """(H, W, 3) uint8; what is transparent shows the colour.

    Raises:
        UserError: It is missing, cut short or no picture.
    """
    # As stored, without colour profiles: what a picture looks like is not what is scored.
    picture = read_picture(path, managed=False)
    return picture.colours if picture.alpha is None else over(picture.colours, picture.alpha, color)


def check_sizes(prediction: Pixels, target: Pixels, where: Path, other: Path) -> None:
    """Refuse to compare pictures of different sizes: resizing either would change every score.

    Raises:
        UserError: They differ.
    """
    if prediction.shape != target.shape:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (prediction, target)]
        raise UserError(
            f"the prediction is {sizes[0]} pixels and its target {sizes[1]} ({other}).",
            where=where,
            hint="Scores of resized pictures compare with nothing: render at the target's size.",
        )


def follows(indices: Sequence[int]) -> NDArray[np.bool_]:
    """(T,) whether each index is one more than that before it; the first is not."""
    index = np.asarray(indices, np.int64)
    return np.concatenate([[False], np.diff(index) == 1])[: len(index)]


def fingerprint_of(files: Sequence[Path], *more: str) -> str:
    """A hash of names, sizes and times of change."""
    digest = hashlib.sha256("\0".join(more).encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def _some(files: dict[str, Path]) -> str:
    names = [path.name for path in files.values()]
    return ", ".join(names[:2]) + (" ..." if len(names) > 2 else "")
