"""metrical-tracker's checkpoints, as INSTA and FlashAvatar use them: FLAME 2020, the head's pose in the camera.

SUBJECT/
    checkpoint/00000.frame ...   torch.save of numbers; read without running what is in them
    images/00000.png ...         with the matte as alpha; or imgs/*.jpg with alpha/*.jpg, numbered from 1
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.unpickle import restricted_load
from spatialavatar.sequence.readers.base import (
    IMAGE_SUFFIXES,
    FramePaths,
    FrameTable,
    Reading,
    axis_angle,
    extrinsics,
    find_image,
    flame_needed,
    numbers,
    rotation_from_6d,
)

NAME = "metrical"


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
    shift, note = _numbering(files, images)
    warnings = [note] if note else []
    table = FrameTable(head)
    identities = []
    lids = False
    for file in files:
        number = int(file.stem) + shift if file.stem.isdigit() else None
        stem = file.stem if number is None else f"{number:0{len(file.stem)}d}"
        image = find_image(images, stem)
        matte = None if mattes is None else find_image(mattes, stem)
        try:
            contents = read_frame(file)
            flame, camera = contents["flame"], contents["opencv"]
            values = _values(flame, camera)
            identity = numbers(flame["shape"])
        except UserError as error:
            if "nothing of it was run" in error.what:
                raise
            table.skip(file.stem, error.what)
            continue
        except (KeyError, TypeError, ValueError) as error:
            table.skip(file.stem, f"its checkpoint lacks {error}")
            continue
        table.add(file.stem, FramePaths(image, matte), **values)
        if file.stem in table.rows:
            identities.append(identity)
            lids = lids or bool(np.abs(numbers(flame.get("eyelids", 0))).max() > 1e-6)
    if lids:
        warnings.append("the two eyelid shapes of metrical-tracker are not carried over: FLAME has none of them.")
    identity = np.mean(identities, 0) if identities else np.zeros(1)
    sequence = table.sequence(identity, {"layout": NAME, "subject": folder.name}, folder)
    return Reading(NAME, (folder.name,), (sequence,), tuple(table.skipped), tuple(warnings))


def read_frame(path: Path) -> dict[str, Any]:
    """The contents of a `.frame` file: arrays in dictionaries.

    Raises:
        UserError: It is damaged, or asks to run code.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
                if inside is None:
                    raise UserError("this is not a file of torch.save.", where=path)
                tensors = any("/data/" in name for name in archive.namelist())
                if not tensors:
                    return restricted_load(io.BytesIO(archive.read(inside)), path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"this file is cut short or damaged ({error}).", where=path) from None
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


def _pictures(folder: Path) -> tuple[Path, Path | None]:
    """The folder of pictures, and that of mattes where they are files of their own."""
    for images, mattes in (("images", "alpha"), ("imgs", "alpha"), ("input", "matting"), ("source", "matting")):
        if (folder / images).is_dir():
            return folder / images, folder / mattes if (folder / mattes).is_dir() else None
    raise UserError("there is no folder of pictures (images, imgs or input).", where=folder)


def _numbering(files: list[Path], images: Path) -> tuple[int, str | None]:
    """By how much pictures are numbered higher than checkpoints: FlashAvatar's start at 1."""
    numbers_of = sorted(
        int(p.stem) for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.stem.isdigit()
    )
    first = next((int(file.stem) for file in files if file.stem.isdigit()), None)
    if not numbers_of or first is None or first in numbers_of:
        return 0, None
    if numbers_of[0] == first + 1:
        return 1, "pictures are numbered from 1 and checkpoints from 0, as FlashAvatar has them: matched in order."
    return 0, None
