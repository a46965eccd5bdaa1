"""What all readers share: what they return, frames by path, and what makes a frame unusable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.media import media_of
from spatialavatar.sequence.pictures import picture_size, read_matte, read_picture
from spatialavatar.sequence.sequence import TrackedSequence

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Skipped:
    """Something that was left out: which frame or file, and why."""

    where: str
    why: str


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    Attributes:
        layout: The reader's name.
        names: Of the sequences.
        sequences: One a camera. The cameras of one subject have the same frames.
        skipped: Frames that were left out, and why.
        warnings: What was read but is not carried over, or was guessed.
        needs_mattes: The set has no mattes: those of the sequences cover everything.
    """

    layout: str
    names: tuple[str, ...]
    sequences: tuple[TrackedSequence, ...]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    needs_mattes: bool = False

    def report(self) -> dict[str, Any]:
        """For report.json: how many frames there are, and every one that is not."""
        return {
            "layout": self.layout,
            "frames": {name: len(one) for name, one in zip(self.names, self.sequences, strict=True)},
            "frames_skipped": len(self.skipped),
            "skipped": [{"where": item.where, "why": item.why} for item in self.skipped],
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


def picture_problem(path: Path, size: tuple[int, int] | None) -> str | None:
    """Why a picture cannot be used, by its header and its end; None when it can.

    Args:
        path: The file.
        size: The width and height it must have, if they are known.
    """
    try:
        found, kind = picture_size(path), media_of(path).name
        with path.open("rb") as stream:
            stream.seek(max(path.stat().st_size - 64, 0))
            end = stream.read()
    except (UserError, OSError):
        return "its picture cannot be read" if path.exists() else "its picture is missing"
    if (kind == "PNG" and b"IEND" not in end) or (kind == "JPEG" and b"\xff\xd9" not in end):
        return "its picture is cut short"
    if size is not None and found != size:
        return f"its picture is {found[0]} x {found[1]}, the others are {size[0]} x {size[1]}"
    return None


@dataclass
class FrameTable:
    """Frames of one sequence as they are read; what cannot be used is noted and left out."""

    head: Head
    expressions: int | None = None
    size: tuple[int, int] | None = None
    rows: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    paths: dict[str, FramePaths] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, name: str, files: FramePaths, **values: NDArray[np.float64]) -> None:
        """One frame: `camera_from_world` (4, 4), `intrinsics` (3, 3), and what Motion is made of."""
        problem = picture_problem(files.image, self.size)
        if problem is None and files.matte is not None:
            with_matte = picture_problem(files.matte, self.size)
            problem = None if with_matte is None else with_matte.replace("picture", "matte")
        for key, value in values.items():
            if problem is None and not bool(np.isfinite(value).all()):
                problem = f"its {key} holds a value that is not a finite number"
        if problem is None and self.expressions is not None and len(values["expression"]) != self.expressions:
            problem = f"it has {len(values['expression'])} expressions, the others have {self.expressions}"
        if problem is not None:
            self.skip(name, problem)
            return
        self.expressions = len(values["expression"])
        if self.size is None:
            self.size = picture_size(files.image)
        self.rows[name], self.paths[name] = values, files

    def skip(self, name: str, why: str) -> None:
        self.skipped.append(Skipped(name, why))

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


def nothing_left(folder: Path, skipped: Sequence[Skipped]) -> UserError:
    """The error for a set of which no frame can be used."""
    shown = "; ".join(f"{item.where}: {item.why}" for item in skipped[:3]) or "it holds none"
    return UserError(f"no frame of this set can be used ({shown}).", where=folder, hint="Extract or download it again.")


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


def opencv_from_opengl(world_from_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) camera to world, y up and z back, -> (4, 4) world to camera, y down and z forward."""
    turned = world_from_camera.copy()
    turned[:3, 1:3] *= -1
    return np.linalg.inv(turned)


def pinhole(fx: float, fy: float, cx: float, cy: float) -> NDArray[np.float64]:
    """(3, 3) intrinsics."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def extrinsics(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) and (3,) -> (4, 4)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def rotation_from_6d(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6,) two rows, made orthonormal, and their cross product (Zhou et al. 2019) -> (3, 3)."""
    first = values[:3] / max(float(np.linalg.norm(values[:3])), 1e-12)
    second = values[3:] - (first @ values[3:]) * first
    second = second / max(float(np.linalg.norm(second)), 1e-12)
    return np.stack([first, second, np.cross(first, second)])


def axis_angle(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) -> (3,)."""
    from scipy.spatial.transform import Rotation

    if not np.isfinite(rotation).all():
        return np.full(3, math.nan)
    return Rotation.from_matrix(rotation).as_rotvec()


def numbers(value: Any, length: int | None = None) -> NDArray[np.float64]:
    """A flat array of numbers, NaN where the value is none of this length."""
    try:
        flat = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return np.full(length or 1, math.nan)
    return flat if length is None or len(flat) == length else np.full(length, math.nan)


def find_image(folder: Path, stem: str) -> Path:
    """`folder/stem` with the suffix that is there; the .png name where none is."""
    for suffix in IMAGE_SUFFIXES:
        if (folder / f"{stem}{suffix}").exists():
            return folder / f"{stem}{suffix}"
    return folder / f"{stem}.png"
