"""metrical-tracker's checkpoints, as INSTA and FlashAvatar use them: FLAME 2020, the head's pose in the camera.

SUBJECT/
    checkpoint/00000.frame ...   torch.save of numbers; read without running what is in them
    images/00000.png ...         with the matte as alpha; or imgs/*.jpg with alpha/*.jpg, numbered from 1
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.unpickle import restricted_load
from spatialavatar.input_files import check_regular_file
from spatialavatar.sequence.readers.base import (
    IMAGE_SUFFIXES,
    FramePaths,
    FrameTable,
    Reading,
    clip_name,
    flame_needed,
)
from spatialavatar.sequence.readers.conventions import axis_angle, extrinsics, numbers, rotation_from_6d
from spatialavatar.sequence.readers.places import SetFolder

NAME = "metrical"
LARGEST_FRAME = 64 << 20
"""Bytes of one checkpoint; the tracker's own take 0.05 MB."""


def recognises(folder: Path) -> bool:
    """Whether this is such a subject."""
    return next((folder / "checkpoint").glob("*.frame"), None) is not None if folder.is_dir() else False


def read(folder: Path, head: Head | None) -> Reading:
    """Read one subject.

    Raises:
        UserError: The head is not given, a file asks to run code, or no frame can be used.
    """
    head = flame_needed(head, folder, "FLAME 2020")
    files = sorted((folder / "checkpoint").glob("*.frame"))
    if not files:
        raise UserError("there is no checkpoint/*.frame here.", where=folder, hint="Is the set extracted whole?")
    images, mattes = _pictures(folder)
    shift, note = _numbering(files, folder / images)
    warnings = [note] if note else []
    place = SetFolder(folder)
    table = FrameTable(head, place)
    identities = []
    lids = False
    for file in files:
        number = _number(file.stem)
        stem = file.stem if number is None else f"{number + shift:0{len(file.stem)}d}"
        image = place.place(f"{images}/{stem}", IMAGE_SUFFIXES)
        matte = None if mattes is None else place.place(f"{mattes}/{stem}", IMAGE_SUFFIXES)
        try:
            contents = read_frame(file)
            flame, camera = contents["flame"], contents["opencv"]
            values = _values(flame, camera)
            identity = numbers(flame["shape"])
        except UserError as error:
            if "nothing of it was run" in error.what:
                raise
            table.skip(file.stem, f"its checkpoint cannot be used: {error.what.rstrip('.')}", file)
            continue
        except (KeyError, TypeError, ValueError) as error:
            table.skip(file.stem, f"its checkpoint lacks {error}")
            continue
        table.add(file.stem, FramePaths(image, matte), **values)
        if file.stem in table.rows:
            identities.append(identity)
            lids = lids or bool(np.abs(numbers(flame.get("eyelids", 0))).max(initial=0) > 1e-6)
    if lids:
        warnings.append("the two eyelid shapes of metrical-tracker are not carried over: FLAME has none of them.")
    if len({len(identity) for identity in identities}) > 1:
        raise UserError("the checkpoints have identities of different lengths.", where=folder)
    identity = np.mean(identities, 0) if identities else np.zeros(1)
    sequence = table.sequence(identity, {"layout": NAME, "subject": folder.name}, folder)
    unmatted = (frozenset(table.unmatted),)
    return Reading(NAME, (clip_name(folder),), (sequence,), tuple(table.skipped), tuple(warnings), unmatted)


def read_frame(path: Path) -> dict[str, Any]:
    """The contents of a `.frame` file: arrays in dictionaries.

    Raises:
        UserError: It is damaged, or asks to run code.
    """
    size = check_regular_file(path)
    if size > LARGEST_FRAME:
        raise UserError(f"this file is too large for one frame: {size:,} bytes.", where=path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > size or any(member.compress_type for member in members):
                raise UserError("this file is packed as torch.save packs none.", where=path)
            inside = next((member.filename for member in members if member.filename.endswith("data.pkl")), None)
            if inside is None:
                raise UserError("this is not a file of torch.save.", where=path)
            if any("/data/" in member.filename for member in members):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
            else:
                loaded = restricted_load(archive.read(inside), path)
    except UserError:
        raise
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"this file is cut short or damaged ({error}).", where=path) from None
    except MemoryError:
        raise UserError("there is not enough memory to read this file.", where=path) from None
    except Exception as error:
        # torch's own refusal of code comes as an UnpicklingError, and damaged bytes can fail anywhere.
        raise UserError(
            f"this file holds more than numbers, or is damaged ({type(error).__name__}).", where=path
        ) from None
    if not isinstance(loaded, dict):
        raise UserError("expected a dictionary.", where=path)
    return loaded


def _values(flame: dict[str, Any], camera: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    eyes = numbers(flame["eyes"], 12)
    return {
        "camera_from_world": extrinsics(numbers(camera["R"], 9).reshape(3, 3), numbers(camera["t"], 3)),
        "intrinsics": numbers(camera["K"], 9).reshape(3, 3),
        "expression": numbers(flame["exp"]),
        "jaw_rotation": axis_angle(rotation_from_6d(numbers(flame["jaw"], 6))),
        "eyes_rotation": np.concatenate([axis_angle(rotation_from_6d(eye)) for eye in (eyes[:6], eyes[6:])]),
    }


def _number(stem: str) -> int | None:
    return int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 10 else None


def _pictures(folder: Path) -> tuple[str, str | None]:
    """The name of the folder of pictures, and that of the mattes where they are files of their own."""
    pairs = (("images", "alpha"), ("imgs", "alpha"), ("input", "matting"), ("source", "matting"))
    for images, mattes in pairs:
        if (folder / images).is_dir():
            return images, mattes if (folder / mattes).is_dir() else None
    raise UserError(f"there is no folder of pictures ({', '.join(dict(pairs))}).", where=folder)


def _numbering(files: list[Path], images: Path) -> tuple[int, str | None]:
    """By how much pictures are numbered higher than checkpoints: FlashAvatar's start at 1."""
    found = [_number(path.stem) for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    pictures = sorted(number for number in found if number is not None)
    first = next((number for file in files if (number := _number(file.stem)) is not None), None)
    if not pictures or first is None or first in pictures:
        return 0, None
    if pictures[0] == first + 1:
        return 1, "pictures are numbered from 1 and checkpoints from 0, as FlashAvatar has them: matched in order."
    return 0, None
