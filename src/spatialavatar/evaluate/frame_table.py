"""What has been measured frame by frame so far, on disk as well, so that a stopped evaluation goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from spatialavatar.errors import UserError
from spatialavatar.evaluate.faces import Points
from spatialavatar.evaluate.pictures import Pictures
from spatialavatar.files import write_atomically, write_json
from spatialavatar.input_files import read_json
from spatialavatar.tensor_file import open_tensors, read_tensors


class FrameTable:
    """The columns so far.

    Args:
        pictures: What is measured.
        ids: Names of the columns, each with the version of its measurement.
        reader: The version of what finds landmarks; None where no metric needs them.
        keep: The folder to keep it in, and to go on from; None keeps nothing.

    Attributes:
        columns: A value for each frame, by name; NaN where there is none.
        points: Landmarks (478, 3) of each frame, for both sides.
        done: How many frames there are.
    """

    def __init__(self, pictures: Pictures, ids: Mapping[str, str], reader: str | None, keep: Path | None):
        self.columns: dict[str, list[float]] = {name: [] for name in ids}
        self.points: dict[str, list[Points]] = {"prediction": [], "target": []}
        self.done = 0
        self._reads_faces = reader is not None
        self._keep = keep
        self._header = {
            "fingerprint": pictures.fingerprint,
            "names": list(pictures.names),
            "ids": dict(ids),
            "reader": reader,
        }
        if keep is not None:
            self._load(keep)

    def add(self, values: dict[str, float], points: dict[str, Points]) -> None:
        """One more frame."""
        for side, found in points.items():
            self.points[side].append(found)
        for name, column in self.columns.items():
            column.append(values.get(name, float("nan")))
        self.done += 1

    def stacked(self, side: str) -> Points:
        return np.stack(self.points[side]) if self.points[side] else np.zeros((0, 478, 3), np.float32)

    def save(self) -> None:
        if self._keep is None:
            return
        sides = {side: self.stacked(side) for side in self.points}
        with write_atomically(self._keep / "landmarks.safetensors") as path:
            save_file(sides, path)
        columns = {
            name: [value if math.isfinite(value) else None for value in column] for name, column in self.columns.items()
        }
        write_json(self._keep / "frames.json", {**self._header, "done": self.done, "columns": columns})

    def _load(self, keep: Path) -> None:
        keep.mkdir(parents=True, exist_ok=True)
        try:
            found = read_json(keep / "frames.json")
            if any(found.get(key) != value for key, value in self._header.items()):
                return
            done = max(int(found["done"]), 0)
            columns = {
                name: [float("nan") if value is None else float(value) for value in found["columns"][name][:done]]
                for name in self.columns
            }
            kept = read_tensors(open_tensors(keep / "landmarks.safetensors"))
            points = {side: kept[side].numpy() for side in self.points}
        except (UserError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
            return  # Nothing was kept, or nothing that can be used.
        if any(len(column) < done for column in columns.values()):
            return
        if self._reads_faces and any(
            value.ndim != 3 or value.shape[1:] != (478, 3) or len(value) < done for value in points.values()
        ):
            return
        self.columns, self.done = columns, done
        if self._reads_faces:
            self.points = {side: list(points[side][:done]) for side in self.points}
