"""AED, APD and AKD by estimators that are not ours: what they found in the pictures is read from files.

The field's estimators (Deep3DFaceRecon, EMOCA, SMIRK, face_alignment, InsightFace) may not be shipped, and each wants
its pictures cut in its own way. So whoever has one runs it on the pictures, and gives what it found:

    DIR/estimator.json          {"name": "deep3dfacerecon", "version": "2020-pytorch", "angles": "radians"}
    DIR/predictions/CLIP.npz    or DIR/predictions/CLIP/FRAME.npz
    DIR/targets/CLIP.npz        or DIR/targets/CLIP/FRAME.npz

A clip's file has `names` (T,) and any of `expression` (T, E), `angles` (T, 3 or more: pitch, yaw, roll or an
axis-angle; what comes after three is left out) and `keypoints` (T, K, 2 or 3) in pixels of the scored pictures; a
frame's file has the same without names and without T. NaN, or a frame that is not there, says that no face was found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.evaluate import motion
from spatialavatar.evaluate.score import Scores
from spatialavatar.input_files import read_json, read_npz
from spatialavatar.text import printable

FILE = "estimator.json"
SIDES = ("predictions", "targets")
LARGEST_FINDINGS = 1 << 30
"""Bytes of one clip's findings; a frame takes up to 10 kB."""
KINDS = {"expression": 1, "angles": 1, "keypoints": 2}
"""What estimators find, and the number of axes of it in one frame."""


@dataclass(frozen=True)
class GivenEstimator:
    """An estimator's findings on disk.

    Attributes:
        name, version: They become part of every metric's id; the name also of its column.
        folder: Where the findings lie.
        degrees: Whether its angles are degrees.
    """

    name: str
    version: str
    folder: Path
    degrees: bool

    @property
    def id(self) -> str:
        return f"{self.name}-{self.version}.given"


@dataclass(frozen=True)
class Findings:
    """What was found in the frames of one side of a clip: kind -> (T, ...), NaN where there is nothing."""

    values: dict[str, NDArray[np.float64]]


def open_estimator(folder: Path) -> GivenEstimator:
    """Read what an estimator says of itself.

    Raises:
        UserError: There is no estimator.json, or it lacks a name or a version.
    """
    if not folder.is_dir():
        raise UserError("this folder of an estimator's findings does not exist.", where=folder)
    file = folder / FILE
    if not file.exists():
        raise UserError(
            f"this folder has no {FILE}, so nobody knows whose findings these are.",
            where=folder,
            hint='It holds, for example, {"name": "deep3dfacerecon", "version": "2020", "angles": "radians"}.',
        )
    told = read_json(file)
    name, version = (str(told.get(key, "")) if isinstance(told, dict) else "" for key in ("name", "version"))
    for key, value in (("name", name), ("version", version)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", value):
            raise UserError(
                f"{key!r} is {printable(repr(value), 60)}; expected letters, digits, and . _ + - between them.",
                where=file,
            )
    unit = told.get("angles", "radians")
    if unit not in ("radians", "degrees"):
        raise UserError(f"'angles' is {printable(repr(unit), 60)}; expected radians or degrees.", where=file)
    return GivenEstimator(name, version, folder, unit == "degrees")


def open_estimators(folders: Sequence[Path]) -> tuple[GivenEstimator, ...]:
    """Several estimators.

    Raises:
        UserError: See `open_estimator`; or two have one name.
    """
    found = tuple(open_estimator(folder) for folder in folders)
    names = [estimator.name for estimator in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two estimators are called {name!r}.", hint="Their columns would have one name.")
    return found


def with_estimators(
    scores: Scores, estimators: Sequence[GivenEstimator], height: int, *, same_view: bool = True
) -> Scores:
    """Add the columns `aed@NAME`, `aed_sum@NAME`, `apd@NAME` ... of every estimator that has findings of this clip.

    Args:
        scores: A clip's.
        estimators: Whose findings to read.
        height: Of the pictures; keypoints are scaled to 512.
        same_view: Whether keypoints of predictions and targets should be equal; AKD is left out otherwise.

    Raises:
        UserError: A file cannot be read, or the two sides do not belong together.
    """
    columns, notes = dict(scores.columns), list(scores.notes)
    for estimator in estimators:
        sides = [_read(estimator, side, scores.clip, scores.names) for side in SIDES]
        lacking = [side for side, found in zip(SIDES, sides, strict=True) if not found.values]
        if lacking:
            notes.append(f"{estimator.name} has no {' and no '.join(lacking)} of {scores.clip}.")
            continue
        added = _columns(estimator, sides[0], sides[1], scores.clip, height, same_view)
        if not added:
            notes.append(f"{estimator.name} found nothing in {scores.clip} that both sides have.")
            continue
        first = next(iter(added.values())).values
        blind = int((~np.isfinite(first)).sum())
        if blind:
            notes.append(f"{scores.clip}: {estimator.name} found no face in {blind} frames; they are not scored.")
        columns |= {f"{name}@{estimator.name}": column for name, column in added.items()}
    return replace(scores, columns=columns, notes=tuple(notes))


def _columns(
    estimator: GivenEstimator, ours: Findings, theirs: Findings, clip: str, height: int, same_view: bool
) -> dict[str, motion.Column]:
    added: dict[str, motion.Column] = {}
    for kind in KINDS:
        if (kind in ours.values) != (kind in theirs.values):
            side = SIDES[kind in ours.values]
            raise UserError(f"the {side} of {clip} have no {kind!r}, the others have.", where=estimator.folder)
        if kind in ours.values and ours.values[kind].shape != theirs.values[kind].shape:
            shapes = [found.values[kind].shape[1:] for found in (ours, theirs)]
            raise UserError(
                f"{kind!r} of {clip} is {shapes[0]} in predictions and {shapes[1]} in targets.", where=estimator.folder
            )
    if "expression" in ours.values:
        added |= motion.expression_distances(ours.values["expression"], theirs.values["expression"], estimator.id)
    if "angles" in ours.values:
        added |= motion.angle_distances(_radians(estimator, ours), _radians(estimator, theirs), estimator.id)
    if "keypoints" in ours.values and same_view:
        points = (ours.values["keypoints"], theirs.values["keypoints"])
        added |= motion.keypoint_distances(points[0], points[1], height, estimator.id)
    return added


def _radians(estimator: GivenEstimator, found: Findings) -> NDArray[np.float64]:
    angles = found.values["angles"][:, :3]
    return np.deg2rad(angles) if estimator.degrees else angles


def _read(estimator: GivenEstimator, side: str, clip: str, names: Sequence[str]) -> Findings:
    place = estimator.folder / side
    whole, frames = place / f"{clip}.npz", place / clip
    if whole.is_file():
        return _of_clip(_loaded(whole), names, whole)
    if frames.is_dir():
        return _of_frames(frames, names)
    return Findings({})


def _of_clip(found: dict[str, NDArray[Any]], names: Sequence[str], path: Path) -> Findings:
    if "names" not in found:
        raise UserError("the key 'names' is missing: which frames are these?", where=path)
    row_of = {str(name): row for row, name in enumerate(found["names"].reshape(-1))}
    values = {}
    for kind in KINDS.keys() & found.keys():
        given = _checked(found[kind], kind, path, len(row_of))
        values[kind] = np.full((len(names), *given.shape[1:]), np.nan)
        for index, name in enumerate(names):
            if name in row_of:
                values[kind][index] = given[row_of[name]]
    return Findings({kind: _whole_rows(array) for kind, array in values.items()})


def _of_frames(folder: Path, names: Sequence[str]) -> Findings:
    values: dict[str, NDArray[np.float64]] = {}
    for index, name in enumerate(names):
        path = folder / f"{name}.npz"
        if not path.is_file():
            continue
        found = _loaded(path)
        for kind in KINDS.keys() & found.keys():
            given = _checked(found[kind][None], kind, path, 1)[0]
            if kind not in values:
                values[kind] = np.full((len(names), *given.shape), np.nan)
            if values[kind].shape[1:] != given.shape:
                raise UserError(
                    f"{kind!r} is {given.shape} here and {values[kind].shape[1:]} in other frames.", where=path
                )
            values[kind][index] = given
    return Findings({kind: _whole_rows(array) for kind, array in values.items()})


def _checked(given: NDArray[Any], kind: str, path: Path, rows: int) -> NDArray[np.float64]:
    """(T, ...) floats of the right number of axes."""
    if given.ndim != KINDS[kind] + 1 or len(given) != rows or given.dtype.kind not in "fiu":
        raise UserError(f"{kind!r} is {given.dtype} {given.shape}; expected {rows} rows of numbers.", where=path)
    least = {"expression": 1, "angles": 3, "keypoints": 2}[kind]
    if given.shape[-1] < least:
        raise UserError(f"{kind!r} has {given.shape[-1]} numbers a row; expected {least} or more.", where=path)
    return given.astype(np.float64)


def _whole_rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frames of which anything is not finite count as not found."""
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    values[bad] = np.nan
    return values


def _loaded(path: Path) -> dict[str, NDArray[Any]]:
    return read_npz(path, {"names", *KINDS}, LARGEST_FINDINGS)
