"""IMavatar's layout, as SplattingAvatar's ten subjects have it: FLAME 2020, four times as large.

SUBJECT/
    flame_params.json   intrinsics over the picture's size, 100 identity codes, and per frame a camera, 50 expression
                        codes and 15 numbers of pose (global, neck, jaw, eyes)
    image/NNN.png       with the matte as alpha (`images` in some copies)

Cameras look along -z with y up; FLAME's vertices are scaled by 4 before them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.input_files import read_json
from spatialavatar.sequence.readers.base import (
    IMAGE_SUFFIXES,
    FramePaths,
    FrameTable,
    Reading,
    clip_name,
    flame_needed,
    look_at,
)
from spatialavatar.sequence.readers.conventions import extrinsics, numbers, pinhole
from spatialavatar.sequence.readers.places import SetFolder

NAME = "imavatar"
FILE = "flame_params.json"
SCALE = 4.0


def recognises(folder: Path) -> bool:
    """Whether this is such a subject."""
    return (folder / FILE).is_file()


def read(folder: Path, head: Head | None) -> Reading:
    """Read one subject.

    Raises:
        UserError: The head is not given, the JSON is damaged, or no frame can be used.
    """
    head = flame_needed(head, folder, "FLAME 2020")
    contents = read_json(folder / FILE)
    try:
        intrinsics, frames = numbers(contents["intrinsics"], 4), list(contents["frames"])
        identity = numbers(contents["shape_params"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"expected intrinsics, shape_params and frames ({error} is missing).", where=folder / FILE
        ) from None
    if not np.isfinite(identity).all() or not np.isfinite(intrinsics).all():
        raise UserError("shape_params or intrinsics hold a value that is not a number.", where=folder / FILE)
    place = SetFolder(folder)
    table = FrameTable(head, place)
    for position, frame in enumerate(frames):
        told = frame.get("file_path") if isinstance(frame, dict) else None
        name = re.split(r"[/\\]", told)[-1] if isinstance(told, str) else ""
        if not isinstance(told, str) or not name or name in table.rows:
            table.skip(name or f"{position:05d}", "its name occurs twice" if name else "it has no file_path")
            continue
        image = _image(place, told, name)
        table.add(name, FramePaths(image), **_values(frame, intrinsics, look_at(image).size))
    source = {"layout": NAME, "subject": folder.name, "scale": SCALE}
    sequence = table.sequence(identity, source, folder)
    unmatted = (frozenset(table.unmatted),)
    return Reading(NAME, (clip_name(folder),), (sequence,), tuple(table.skipped), unmatted=unmatted)


def _values(frame: dict[str, Any], k: NDArray[np.float64], size: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    world = numbers(frame.get("world_mat"))
    matrix = world[:12].reshape(3, 4).copy() if len(world) in (12, 16) else np.full((3, 4), np.nan)
    # From y up and z towards the viewer to y down and z away; then from FLAME's size times four to its own.
    matrix[1:] *= -1
    matrix[:, 3] /= SCALE
    pose = numbers(frame.get("pose"), 15)
    width, height = size
    return {
        # The sign of fx says only that some tool's x axis points left.
        "intrinsics": pinhole(abs(k[0]) * width, abs(k[1]) * height, k[2] * width, k[3] * height),
        "camera_from_world": extrinsics(matrix[:, :3], matrix[:, 3]),
        "expression": numbers(frame.get("expression")),
        "global_rotation": pose[:3],
        "neck_rotation": pose[3:6],
        "jaw_rotation": pose[6:9],
        "eyes_rotation": pose[9:15],
    }


def _image(place: SetFolder, told: str, name: str) -> Path:
    """The picture that `./image/12` names, whether the folder is called image or images."""
    for path in (told, f"images/{name}", f"image/{name}"):
        found = place.find(path, IMAGE_SUFFIXES)
        if found is not None:
            return found
    return place.place(told, IMAGE_SUFFIXES)
