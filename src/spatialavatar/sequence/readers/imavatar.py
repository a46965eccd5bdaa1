"""IMavatar's layout, as SplattingAvatar's ten subjects have it: FLAME 2020, four times as large.

SUBJECT/
    flame_params.json   intrinsics over the picture's size, 100 identity codes, and per frame a camera, 50 expression
                        codes and 15 numbers of pose (global, neck, jaw, eyes)
    image/NNN.png       with the matte as alpha (`images` in some copies)

Cameras look along -z with y up; FLAME's vertices are scaled by 4 before them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.input_files import read_json
from spatialavatar.sequence.pictures import picture_size
from spatialavatar.sequence.readers.base import (
    FramePaths,
    FrameTable,
    Reading,
    extrinsics,
    find_image,
    flame_needed,
    numbers,
    pinhole,
)

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
    table = FrameTable(head)
    for position, frame in enumerate(frames):
        path = str(frame.get("file_path", "")) if isinstance(frame, dict) else ""
        name = Path(path).name or f"{position:05d}"
        if not path or name in table.rows:
            table.skip(name, "it has no file_path" if not path else "its name occurs twice")
            continue
        files = FramePaths(_image(folder, path))
        size = _size(files.image)
        table.add(name, files, **_values(frame, intrinsics, size))
    source = {"layout": NAME, "subject": folder.name, "scale": SCALE}
    sequence = table.sequence(identity, source, folder)
    return Reading(NAME, (folder.name,), (sequence,), tuple(table.skipped))


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


def _image(folder: Path, path: str) -> Path:
    """The picture that `./image/12` names, whether the folder is called image or images."""
    relative = Path(path.lstrip("./"))
    direct = find_image(folder / relative.parent, relative.name)
    if direct.exists():
        return direct
    for other in ("images", "image"):
        found = find_image(folder / other, relative.name)
        if found.exists():
            return found
    return direct


def _size(path: Path) -> tuple[int, int]:
    try:
        return picture_size(path)
    except UserError:
        return 1, 1  # The table says what is wrong with the picture.
