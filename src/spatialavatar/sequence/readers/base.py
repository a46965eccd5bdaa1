"""What all readers share: what they return, frames by path, and what makes a frame unusable."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import check_file_name, is_file_name
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.input_files import check_regular_file
from spatialavatar.sequence.media import media_of
from spatialavatar.sequence.pictures import read_header, read_matte, read_picture
from spatialavatar.sequence.readers.places import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from spatialavatar.sequence.readers.places import SetFolder
from spatialavatar.sequence.sequence import MOST_PIXELS, TrackedSequence
from spatialavatar.text import printable


@dataclass(frozen=True)
class Skipped:
    """Something that was left out: which frame or file, why, and the file that was looked for, where one was."""

    where: str
    why: str
    file: str = ""


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    Attributes:
        layout: The reader's name.
        names: Of the sequences; each can be the name of a folder.
        sequences: One a camera. The cameras of one subject have the same frames.
        skipped: Frames that were left out, and why.
        warnings: What was read but is not carried over, or was guessed.
        unmatted: For each sequence the names of its frames that the set has no matte of: those of the sequence cover
            everything. Empty where all have one.
    """

    layout: str
    names: tuple[str, ...]
    sequences: tuple[TrackedSequence, ...]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    unmatted: tuple[frozenset[str], ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            # They become folders inside the one that is written, and that alone.
            check_file_name(name, f"a set of the layout {self.layout}", "the name of a camera or clip")
        if len(set(self.names)) != len(self.names):
            raise ValueError("two sequences of one name")

    def unmatted_of(self, name: str) -> frozenset[str]:
        """Frames of a sequence, by its name, that the set has no matte of."""
        return self.unmatted[self.names.index(name)] if self.unmatted else frozenset()

    def report(self) -> dict[str, Any]:
        """For report.json: how many frames there are, and every one that is not."""
        return {
            "layout": self.layout,
            "frames": {name: len(one) for name, one in zip(self.names, self.sequences, strict=True)},
            "frames_skipped": len(self.skipped),
            "skipped": [
                {"where": item.where, "why": item.why, **({"file": item.file} if item.file else {})}
                for item in self.skipped
            ],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class FramePaths:
    """Where one frame's pixels lie. Without a matte's path, the image's own alpha is the matte."""

    image: Path
    matte: Path | None = None
    name: str = ""


@dataclass(frozen=True)
class PathFrames:
    """Frames by path, read when asked for.

    Attributes:
        paths: Name of a frame -> its files.
        dark: Take what is not black for the subject: for sets that show people before black and keep no matte.
    """

    paths: Mapping[str, FramePaths]
    dark: bool = False

    def image(self, name: str) -> NDArray[np.uint8]:
        return np.ascontiguousarray(read_pixels(self.paths[name].image)[..., :3])

    def matte(self, name: str) -> NDArray[np.uint8]:
        files = self.paths[name]
        if files.matte is not None:
            return read_matte(files.matte)
        pixels = read_pixels(files.image)
        if self.dark and bool((pixels[..., 3] == 255).all()):
            return not_black(pixels[..., :3])
        return np.ascontiguousarray(pixels[..., 3])


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """(H, W, 4) uint8 straight colours and alpha, 255 where the file has none.

    Raises:
        UserError: It is missing or cannot be read.
    """
    # As stored: trackings were made of the stored values, and without their colour profiles.
    picture = read_picture(path, managed=False)
    alpha = np.full(picture.colours.shape[:2], 255, np.uint8) if picture.alpha is None else picture.alpha
    return np.concatenate([picture.colours, alpha[..., None]], -1)


def not_black(image: NDArray[np.uint8], threshold: int = 12) -> NDArray[np.uint8]:
    """(H, W) 255 where a picture before black shows something; holes, such as pupils, are filled."""
    from scipy.ndimage import binary_fill_holes, binary_opening

    bright = binary_opening(image.max(-1) > threshold, iterations=1)
    return np.asarray(binary_fill_holes(bright)).astype(np.uint8) * 255


_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
"""Pillow's names of pixels with an alpha channel."""


@dataclass(frozen=True)
class Looked:
    """What a picture's header and end say.

    Attributes:
        problem: Why it cannot be used; None when it can.
        size: Its width and height.
        has_alpha: Whether it has an alpha channel.
    """

    problem: str | None
    size: tuple[int, int] = (1, 1)
    has_alpha: bool = False


def look_at(path: Path, size: tuple[int, int] | None = None) -> Looked:
    """Look at a picture without unpacking it.

    Args:
        path: The file.
        size: The width and height it must have, if they are known.
    """
    try:
        length = check_regular_file(path)
    except UserError:
        # Not Path.exists, which fails for names that are longer than any.
        return Looked("its picture cannot be read" if os.path.exists(path) else "its picture is missing")
    try:
        (found, mode), kind = read_header(path), media_of(path).name
        # A palette may have a transparent colour; which pixels do is only known of the pixels.
        alpha = mode in _WITH_ALPHA or (mode == "P" and read_picture(path, managed=False).alpha is not None)
        with path.open("rb") as stream:
            stream.seek(max(length - 64, 0))
            end = stream.read()
    except (UserError, OSError):
        return Looked("its picture cannot be read")
    if (kind == "PNG" and b"IEND" not in end) or (kind == "JPEG" and b"\xff\xd9" not in end):
        return Looked("its picture is cut short")
    if found[0] * found[1] > MOST_PIXELS:
        return Looked(f"its picture has {found[0]} x {found[1]} pixels, which are too many")
    if size is not None and found != size:
        return Looked(f"its picture is {found[0]} x {found[1]}, the others are {size[0]} x {size[1]}", found, alpha)
    return Looked(None, found, alpha)


def picture_problem(path: Path, size: tuple[int, int] | None) -> str | None:
    """Why a picture cannot be used, by its header and its end; None when it can; arguments as for `look_at`."""
    return look_at(path, size).problem


@dataclass
class FrameTable:
    """Frames of one sequence as they are read; what cannot be used is noted and left out."""

    head: Head
    place: SetFolder | None = None
    expressions: int | None = None
    size: tuple[int, int] | None = None
    rows: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    paths: dict[str, FramePaths] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    unmatted: set[str] = field(default_factory=set)

    def add(self, name: str, files: FramePaths, **values: NDArray[np.float64]) -> None:
        """One frame: `camera_from_world` (4, 4), `intrinsics` (3, 3), and what Motion is made of."""
        looked, blamed = look_at(files.image, self.size), files.image
        problem = looked.problem
        if problem is None and files.matte is not None:
            with_matte = picture_problem(files.matte, looked.size)
            if with_matte is not None:
                problem, blamed = with_matte.replace("picture", "matte"), files.matte
        if problem is not None:
            self.skip(name, problem, blamed)
        elif self.add_values(name, files, **values):
            self.size = looked.size
            if files.matte is None and not looked.has_alpha:
                self.unmatted.add(name)

    def add_values(self, name: str, files: FramePaths, **values: NDArray[np.float64]) -> bool:
        """One frame whose pictures were looked at already; whether it can be used."""
        problem = None
        if not is_file_name(name):
            problem = "its name cannot be that of a file"
        for key, value in values.items():
            if problem is None and not bool(np.isfinite(value.astype(np.float32)).all()):
                problem = f"its {key} holds a value that is not a finite number"
        if problem is None and self.expressions is not None and len(values["expression"]) != self.expressions:
            problem = f"it has {len(values['expression'])} expressions, the others have {self.expressions}"
        if problem is None and not (np.diagonal(values["intrinsics"])[:2] > 0).all():
            problem = "its focal length is not positive"
        if problem is not None:
            self.skip(name, problem)
            return False
        self.expressions = len(values["expression"])
        self.rows[name], self.paths[name] = values, files
        return True

    def skip(self, name: str, why: str, file: Path | None = None) -> None:
        """Leave a frame out; `file` is the one that is missing or cannot be read."""
        shown = "" if file is None else str(file) if self.place is None else self.place.relative(file)
        self.skipped.append(Skipped(printable(name, 100), why, printable(shown, 200)))

    def keep(self, names: Iterable[str]) -> None:
        """Only these frames."""
        wanted = set(names)
        self.rows = {name: row for name, row in self.rows.items() if name in wanted}

    def sequence(
        self,
        identity: NDArray[np.floating[Any]],
        source: dict[str, Any],
        folder: Path,
        *,
        frame_rate: float = 25.0,
        dark: bool = False,
    ) -> TrackedSequence:
        """The frames that could be used.

        Raises:
            UserError: There is none, or the head has fewer identities or expressions than the set.
        """
        if not self.rows:
            raise nothing_left(folder, self.skipped)
        assert self.size is not None
        if not np.isfinite(np.asarray(identity, np.float32)).all():
            raise UserError("the identity of this set holds a value that is not a finite number.", where=folder)
        rows = list(self.rows.values())

        def stacked(key: str, width: int) -> Tensor:
            values = [row.get(key, np.zeros(width)) for row in rows]
            return torch.from_numpy(np.stack(values)).float()

        expression = fitted_codes(torch.from_numpy(np.stack([row["expression"] for row in rows])).float(), self.head)
        motion = Motion(
            expression=expression,
            global_rotation=stacked("global_rotation", 3),
            neck_rotation=stacked("neck_rotation", 3),
            jaw_rotation=stacked("jaw_rotation", 3),
            eyes_rotation=stacked("eyes_rotation", 6),
            translation=stacked("translation", 3),
            neck_translation=torch.zeros(len(rows), 3),
        )
        if len(identity) > self.head.num_identities:
            raise UserError(
                f"the set has {len(identity)} identity codes, the head {self.head.edition} has "
                f"{self.head.num_identities}.",
                where=folder,
            )
        return TrackedSequence(
            head_edition=self.head.edition,
            identity=torch.from_numpy(np.asarray(identity, np.float32)),
            motion=motion,
            camera_from_world=torch.from_numpy(np.stack([row["camera_from_world"] for row in rows])).float(),
            intrinsics=torch.from_numpy(np.stack([row["intrinsics"] for row in rows])).float(),
            width=self.size[0],
            height=self.size[1],
            frame_rate=frame_rate,
            names=tuple(self.rows),
            expression_names=self.head.expression_names,
            source=source,
            frames=PathFrames(self.paths, dark),
        )


def fitted_codes(expression: Tensor, head: Head) -> Tensor:
    """(T, E') codes as (T, E) of the head, zeros after the set's own.

    Raises:
        UserError: The set has more codes than the head, and they are not zero.
    """
    count, wanted = expression.shape[1], head.num_expressions
    if count > wanted:
        if bool(expression[:, wanted:].any()):
            raise UserError(f"the set has {count} expression codes, the head {head.edition} has {wanted}.")
        return expression[:, :wanted]
    return torch.cat([expression, expression.new_zeros(len(expression), wanted - count)], 1)


def together(tables: Sequence[FrameTable], names: Sequence[str]) -> None:
    """Leave only the instants that every camera has, and note for every other one which camera lacks it."""
    everywhere = set.intersection(*(set(table.rows) for table in tables))
    lacking = [
        Skipped(instant, f"camera {camera} lacks it")
        for instant in sorted(set().union(*(table.rows for table in tables)) - everywhere)
        for camera, table in zip(names, tables, strict=True)
        if instant not in table.rows
    ]
    for table in tables:
        table.keep(everywhere)
    if tables:
        tables[0].skipped += lacking


def told_reasons(skipped: Sequence[Skipped], most: int = 3) -> str:
    """Why frames were left out, the most frequent reasons first, each with their number and an example."""
    told = []
    for why, count in Counter(item.why for item in skipped).most_common(most):
        example = next(item for item in skipped if item.why == why)
        file = f", {example.file}" if example.file else ""
        told.append(f"{why} ({count}, for example {example.where}{file})")
    return "; ".join(told)


def nothing_left(folder: Path, skipped: Sequence[Skipped]) -> UserError:
    """The error for a set of which no frame can be used."""
    if not skipped:
        return UserError("this set holds no frames.", where=folder, hint=_EXTRACT)
    return UserError(
        f"none of the {len(skipped)} frames of this set can be used: {told_reasons(skipped)}.",
        where=folder,
        hint=_hint(skipped),
    )


_EXTRACT = "Is the set extracted whole? docs/datasets.md shows where its files lie."


def _hint(skipped: Sequence[Skipped]) -> str:
    """What to do about the most frequent reason."""
    item = next(item for item in skipped if item.why == Counter(item.why for item in skipped).most_common(1)[0][0])
    if "is missing" in item.why and item.file:
        return f"{_EXTRACT} Looked for inside the folder: {item.file}, in other letters' case and other suffixes too."
    if "not a finite number" in item.why or "is not positive" in item.why:
        return "Its tracker failed in these frames: track the set again."
    if "cut short" in item.why or "cannot be read" in item.why:
        return "Extract or download it again."
    return _EXTRACT


def clip_name(folder: Path) -> str:
    """What a set of one sequence is called: as its folder, as far as any system allows."""
    name = re.sub(r"[^\w.-]+", "_", folder.resolve().name).strip("._")[:100]
    return name if is_file_name(name) else "clip"


def flame_needed(head: Head | None, folder: Path, edition: str) -> Head:
    """The head that a set's codes belong to.

    Raises:
        UserError: None was given.
    """
    if head is None:
        raise UserError(
            f"this set was tracked with {edition}, whose file is needed to say what its codes mean.",
            where=folder,
            hint="Give your copy with --head.",
        )
    return head
