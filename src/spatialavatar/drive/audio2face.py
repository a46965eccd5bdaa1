"""NVIDIA Audio2Face's blendshape export: JSON with `facsNames`, `weightMat` and `exportFps`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from spatialavatar.drive.arkit import arkit_recording
from spatialavatar.drive.arkit_names import known_columns
from spatialavatar.drive.arkit_npz import finite, rate_of
from spatialavatar.drive.plausible import plausible_columns
from spatialavatar.drive.recording import Recording
from spatialavatar.drive.time_line import ASSUMED_RATE, MOST_FRAMES
from spatialavatar.errors import UserError
from spatialavatar.input_files import read_json


def read_audio2face(path: str | os.PathLike[str], frame_rate: float | None = None) -> Recording:
    """Read such a file; its names must be ARKit's, so the solver must have been set up for an ARKit mesh.

    Args:
        path: The file.
        frame_rate: Frames per second, whatever the file says.

    Raises:
        UserError: Which key is wrong.
    """
    content = read_json(path)
    if not isinstance(content, dict) or "weightMat" not in content or "facsNames" not in content:
        raise UserError(
            "this JSON is no blendshape export of Audio2Face: it lacks 'facsNames' or 'weightMat'.", where=path
        )
    names = content["facsNames"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError("the key 'facsNames' must be a list of names.", where=path)
    rows = content["weightMat"]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise UserError("the key 'weightMat' must be a list of frames, each a list of weights.", where=path)
    if len(rows) > MOST_FRAMES:
        raise UserError(f"the key 'weightMat' has {len(rows):,} frames; up to {MOST_FRAMES:,} are read.", where=path)
    for index, row in enumerate(rows):
        if len(row) != len(names):
            raise UserError(
                f"frame {index} of 'weightMat' has {len(row)} weights, 'facsNames' has {len(names)} names.", where=path
            )
        if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in row):
            raise UserError(f"frame {index} of 'weightMat' holds something else than numbers.", where=path)
    frames = content.get("numFrames")
    if isinstance(frames, int) and frames != len(rows):
        raise UserError(f"the key 'numFrames' is {frames}, 'weightMat' has {len(rows)} frames.", where=path)
    columns = known_columns(names, str(path), "name")
    try:
        weights = np.array(rows, np.float64)
    except OverflowError:
        raise UserError("the key 'weightMat' holds numbers that are too large.", where=path) from None
    weights = finite(weights, "weightMat", path)
    chosen, notes = plausible_columns(
        {name: weights[:, index] for index, name in columns.items()}, path, lambda row: f"frame {row}"
    )
    rate, said = rate_of(content, frame_rate, ASSUMED_RATE, path, "exportFps")
    return arkit_recording(chosen, rate, Path(path).name, notes=(*notes, *said))
