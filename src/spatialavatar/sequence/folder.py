"""The tracked folder on disk (docs/tracked_folder.md describes every field).

NAME.tracked/
    sequence.json        sizes, names, kind, edition of the head, source
    motion.safetensors   identity, motion, cameras, landmarks
    images/NAME.png      (H, W, 3) 8-bit sRGB
    mattes/NAME.png      (H, W) 8-bit
    report.json          what the tracker measured
    overlay.mp4          mesh and landmarks on the frames (overlay.png for photos)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import new_folder_atomically, write_json
from spatialavatar.head.motion import Motion
from spatialavatar.input_files import read_json
from spatialavatar.products import check_replaceable_folder
from spatialavatar.sequence.media import SEQUENCE_FILE as SEQUENCE_FILE
from spatialavatar.sequence.pictures import read_header
from spatialavatar.sequence.sequence import FolderFrames, TrackedSequence, shape_fits, shape_words

FORMAT = "spatialavatar.tracked"
FORMAT_VERSION = 1
MOTION_FILE = "motion.safetensors"
REPORT_FILE = "report.json"
OVERLAY_FILES = {"video": "overlay.mp4", "photos": "overlay.png"}
"""By the kind of the sequence."""
_TRACK_AGAIN = "Track the video or the photos again, or see docs/tracked_folder.md."

# Key of motion.safetensors -> shape after the number of frames; None is any length.
_PER_FRAME: dict[str, tuple[int | None, ...]] = {
    "expression": (None,),
    "global_rotation": (3,),
    "neck_rotation": (3,),
    "jaw_rotation": (3,),
    "eyes_rotation": (6,),
    "translation": (3,),
    "neck_translation": (3,),
    "camera_from_world": (4, 4),
    "intrinsics": (3, 3),
    "source_boxes": (4,),
}
_MOTION_KEYS = tuple(_PER_FRAME)[:7]
_MATTE_MODES = ("L", "1", "I;16", "I;16B", "I")
"""Pillow's names of what a matte may be stored as: 8 bits, as we write it, and 1 or 16, as others do."""
_OPTIONAL = ("neck_translation", "source_boxes")
_TABLES = ("landmarks", "source_boxes")
"""Keys that are fields of a sequence of the same name, and None where they are missing."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a tracked folder: which file (and key), and what was expected and found."""

    where: Path
    what: str
    hint: str = _TRACK_AGAIN

    def error(self) -> UserError:
        return UserError(self.what, where=self.where, hint=self.hint)


def is_tracked_folder(path: str | os.PathLike[str]) -> bool:
    """Whether the path looks like a tracked folder."""
    return (Path(path) / SEQUENCE_FILE).is_file()


def save_image(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write a PNG fast: twice the speed of the default level for a tenth more bytes."""
    Image.fromarray(pixels).save(path, compress_level=1)


def prepare_folder(folder: Path) -> None:
    """Make the sub-folders that frames go into."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "mattes").mkdir(exist_ok=True)


def save_frame(folder: Path, name: str, image: NDArray[np.uint8], matte: NDArray[np.uint8]) -> None:
    """Write one frame's image (H, W, 3) and matte (H, W) into a prepared folder."""
    save_image(image, folder / "images" / f"{name}.png")
    save_image(matte, folder / "mattes" / f"{name}.png")


def save_tables(sequence: TrackedSequence, folder: Path) -> None:
    """Write everything but the frames: motion.safetensors, then sequence.json, which makes the folder a tracked one."""
    tensors = {name: getattr(sequence.motion, name) for name in _MOTION_KEYS}
    tensors |= {
        "identity": sequence.identity,
        "camera_from_world": sequence.camera_from_world,
        "intrinsics": sequence.intrinsics,
    }
    for name in _TABLES:
        value = getattr(sequence, name)
        if value is not None:
            tensors[name] = value
    save_file(
        {name: value.detach().to("cpu", torch.float32).contiguous() for name, value in tensors.items()},
        folder / MOTION_FILE,
        # One entry only: the library writes several in an order of its own, and equal sequences shall be equal files.
        metadata={"format": FORMAT},
    )
    write_json(
        folder / SEQUENCE_FILE,
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": sequence.kind,
            "head_edition": sequence.head_edition,
            "width": sequence.width,
            "height": sequence.height,
            "frame_rate": sequence.frame_rate,
            "names": list(sequence.names),
            "expression_names": list(sequence.expression_names),
            "valid": [bool(v) for v in sequence.is_valid],
            "source": sequence.source,
        },
    )


def write_sequence(
    sequence: TrackedSequence,
    folder: str | os.PathLike[str],
    images: Iterable[NDArray[np.uint8] | Tensor] | None = None,
    mattes: Iterable[NDArray[np.uint8] | Tensor] | None = None,
    *,
    report: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> TrackedSequence:
    """Write a tracked folder, whole or not at all, and return the sequence as it is there.

    Args:
        sequence: What to write.
        folder: Where; it must not exist unless `overwrite`.
        images: T images (H, W, 3) uint8 sRGB; by default the sequence's own.
        mattes: T mattes (H, W) uint8; by default the sequence's own.
        report: What goes into report.json, if anything.

    Raises:
        UserError: The folder exists, or the disk is full.
    """
    final = Path(folder)
    if overwrite:
        check_replaceable_folder(final, ())
    own_images = (sequence.image(i) for i in range(len(sequence))) if images is None else iter(images)
    own_mattes = (sequence.matte(i) for i in range(len(sequence))) if mattes is None else iter(mattes)
    with new_folder_atomically(final, overwrite) as temporary:
        prepare_folder(temporary)
        for name, image, matte in zip(sequence.names, own_images, own_mattes, strict=True):
            save_frame(temporary, name, np.asarray(image), np.asarray(matte))
        save_tables(sequence, temporary)
        if report is not None:
            write_json(temporary / REPORT_FILE, report)
    return replace(sequence, folder=final, frames=FolderFrames(final))


def read_sequence(folder: str | os.PathLike[str]) -> TrackedSequence:
    """Read a tracked folder; frames stay on disk until asked for.

    Raises:
        UserError: The first problem that `folder_problems` finds.
    """
    path = Path(folder)
    for problem in folder_problems(path, frames=False):
        raise problem.error()
    header = read_json(path / SEQUENCE_FILE)
    tensors = load_file(path / MOTION_FILE)
    count = len(header["names"])
    motion = {name: tensors[name] if name in tensors else torch.zeros(count, 3) for name in _MOTION_KEYS}
    return TrackedSequence(
        head_edition=header["head_edition"],
        identity=tensors["identity"],
        motion=Motion(**motion),
        camera_from_world=tensors["camera_from_world"],
        intrinsics=tensors["intrinsics"],
        width=header["width"],
        height=header["height"],
        frame_rate=float(header["frame_rate"]),
        names=tuple(header["names"]),
        kind=header["kind"],
        landmarks=tensors.get("landmarks"),
        source_boxes=tensors.get("source_boxes"),
        valid=torch.tensor(header.get("valid", [True] * count), dtype=torch.bool),
        expression_names=tuple(header.get("expression_names", ())),
        source=header.get("source", {}),
        folder=path,
        frames=FolderFrames(path),
    )


def folder_problems(folder: str | os.PathLike[str], *, frames: bool = True) -> list[Problem]:
    """Everything wrong with a tracked folder's files, keys and shapes; empty when it can be read.

    Args:
        frames: Whether to look at the header of every image and matte too.
    """
    path = Path(folder)
    if not path.is_dir():
        return [Problem(path, "this is not a folder; a tracked folder was expected.", "spatialavatar track makes one.")]
    header, problems = _header_problems(path / SEQUENCE_FILE)
    if header is None or problems:
        return problems
    problems += _tensor_problems(path / MOTION_FILE, len(header["names"]))
    if frames:
        problems += _frame_problems(path, header)
    return problems


def _header_problems(file: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    try:
        header = read_json(file)
    except UserError as error:
        return None, [Problem(file, error.what)]
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        return None, [Problem(file, f'key "format" must be "{FORMAT}": this is not a tracked folder of ours.')]
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        what = f'key "format_version" is {version!r}, this program reads {FORMAT_VERSION}.'
        return None, [Problem(file, what, "Use the version of the program that wrote it, or track again.")]
    checks: dict[str, tuple[str, Any]] = {
        "kind": ('"video" or "photos"', lambda v: v in ("video", "photos")),
        "head_edition": ("a text", lambda v: isinstance(v, str) and bool(v)),
        "width": ("a whole number of pixels", lambda v: isinstance(v, int) and v > 0),
        "height": ("a whole number of pixels", lambda v: isinstance(v, int) and v > 0),
        "frame_rate": ("a number, 0 for photos", lambda v: isinstance(v, (int, float)) and v >= 0),
        "names": (
            "a list of at least one text, none twice",
            lambda v: isinstance(v, list) and v and all(isinstance(n, str) for n in v) and len(set(v)) == len(v),
        ),
    }
    problems = []
    for key, (expected, fits) in checks.items():
        if key not in header:
            problems.append(Problem(file, f'key "{key}" is missing; expected {expected}.'))
        elif not fits(header[key]):
            problems.append(Problem(file, f'key "{key}" must be {expected}, found {_short(header[key])}.'))
    valid = header.get("valid")
    if not problems and valid is not None and (not isinstance(valid, list) or len(valid) != len(header["names"])):
        problems.append(Problem(file, f'key "valid" must be a list of {len(header["names"])}, one per name.'))
    return header, problems


def _tensor_problems(file: Path, count: int) -> list[Problem]:
    if not file.is_file():
        return [Problem(file, "this file is missing.")]
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        return [Problem(file, f"this is not a readable safetensors file ({error}).")]
    expected: dict[str, tuple[int | None, ...]] = {name: (count, *shape) for name, shape in _PER_FRAME.items()}
    expected["identity"] = (None,)
    problems = []
    for name, shape in expected.items():
        if name not in tensors:
            if name not in _OPTIONAL:
                problems.append(Problem(file, f'key "{name}" is missing; expected shape {shape_words(shape)}.'))
            continue
        problems += _one_tensor(file, name, tensors[name], shape, finite=True)
    if "landmarks" in tensors:
        problems += _one_tensor(file, "landmarks", tensors["landmarks"], (count, 478, 2), finite=False)
    return problems


def _one_tensor(file: Path, name: str, value: Tensor, shape: tuple[int | None, ...], finite: bool) -> list[Problem]:
    if not shape_fits(value.shape, shape):
        what = f'key "{name}" must have shape {shape_words(shape)}, found {shape_words(value.shape)}.'
        return [Problem(file, what)]
    if value.dtype != torch.float32:
        return [Problem(file, f'key "{name}" must be float32, found {str(value.dtype).removeprefix("torch.")}.')]
    if finite and not bool(torch.isfinite(value).all()):
        frame = int((~torch.isfinite(value)).nonzero()[0, 0])
        return [Problem(file, f'key "{name}" holds a value that is not a finite number (first at index {frame}).')]
    return []


def _frame_problems(path: Path, header: dict[str, Any]) -> list[Problem]:
    problems = []
    source = FolderFrames(path)
    size = (header["width"], header["height"])
    for name in header["names"]:
        for file, modes in ((source.image_path(name), ("RGB",)), (source.matte_path(name), _MATTE_MODES)):
            try:
                found_size, mode = read_header(file)
            except UserError as error:
                problems.append(Problem(file, error.what))
                continue
            if found_size != size:
                found = f"{found_size[0]} x {found_size[1]}"
                problems.append(Problem(file, f"is {found} pixels, {SEQUENCE_FILE} says {size[0]} x {size[1]}."))
            elif mode not in modes:
                problems.append(Problem(file, f"has pixels of mode {mode}, expected {modes[0]}."))
    return problems


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
