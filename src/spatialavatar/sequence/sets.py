"""Sets of subjects: a folder of tracked folders, as Stage 1 is trained on.

ROOT/
    set.json                 what the set is (optional)
    SUBJECT/CAMERA/          a tracked folder; all cameras of a subject share motion, identity and time

A folder that holds tracked folders directly is a set too, each of them a subject with one camera.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from spatialavatar.errors import UserError
from spatialavatar.files import check_file_name
from spatialavatar.input_files import read_json
from spatialavatar.sequence.folder import is_tracked_folder, read_sequence
from spatialavatar.sequence.sequence import TrackedSequence

SET_FORMAT = "spatialavatar.set"
SET_VERSION = 1
SET_FILE = "set.json"
MAKING_FILE = "making.json"
"""Stands in a set's folder, in place of `set.json`, until all its subjects are there."""
ONLY_CAMERA = "front"


@dataclass(frozen=True)
class SetSubject:
    """One subject of a set.

    name: Of the subject's folder.
    camera_names: Of the cameras, in the set's order.
    folders: The tracked folder of each camera.
    """

    name: str
    camera_names: tuple[str, ...]
    folders: tuple[Path, ...]

    @cached_property
    def cameras(self) -> tuple[TrackedSequence, ...]:
        """The sequences, one a camera; read when first asked for, pictures later still.

        Raises:
            UserError: Which camera's folder has which problem, or which two cameras do not belong together.
        """
        sequences = tuple(read_sequence(folder) for folder in self.folders)
        for folder, sequence in zip(self.folders[1:], sequences[1:], strict=True):
            self._check_together(folder, sequences[0], sequence)
        return sequences

    def __len__(self) -> int:
        return len(self.cameras[0])

    def _check_together(self, folder: Path, first: TrackedSequence, other: TrackedSequence) -> None:
        def differ(what: str) -> UserError:
            return UserError(
                f"{what} differs from that of the camera {self.camera_names[0]}: all cameras of a subject must show "
                "the same person at the same times.",
                where=folder,
                hint="Put what was not filmed together into subjects of their own.",
            )

        if other.head_edition != first.head_edition:
            raise differ("the edition of the head")
        if len(other) != len(first):
            raise differ(f"the number of frames ({len(other)}, expected {len(first)})")
        if not torch.equal(other.identity, first.identity):
            raise differ("the identity")
        if not torch.equal(other.motion.expression, first.motion.expression):
            raise differ("the motion")


@dataclass(frozen=True)
class SubjectSet:
    """A set: its folder, its subjects, and what set.json says (empty without one)."""

    root: Path
    subjects: tuple[SetSubject, ...]
    header: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.subjects)

    def __iter__(self) -> Iterator[SetSubject]:
        return iter(self.subjects)


def read_set(root: str | os.PathLike[str]) -> SubjectSet:
    """Read a set, or any folder of tracked folders. Sequences are opened when a subject's `cameras` are asked for.

    Raises:
        UserError: The folder is no set, is not finished, or lacks a subject or camera; says which.
    """
    path = Path(root)
    if not path.is_dir():
        raise UserError(
            "there is no such folder.", where=path, hint="spatialavatar synth makes sets of made-up people."
        )
    if (path / SET_FILE).is_file():
        return _read_described(path)
    if (path / MAKING_FILE).is_file():
        raise UserError(
            "this set is not finished.", where=path, hint="Run the command that makes it again: it goes on."
        )
    if is_tracked_folder(path):
        raise UserError(
            "this is a tracked folder, not a set of them.", where=path, hint="Give the folder that it lies in."
        )
    subjects = []
    for folder in _folders(path):
        if is_tracked_folder(folder):
            subjects.append(SetSubject(folder.name.removesuffix(".tracked"), (ONLY_CAMERA,), (folder,)))
            continue
        cameras = [camera for camera in _folders(folder) if is_tracked_folder(camera)]
        if cameras:
            subjects.append(SetSubject(folder.name, tuple(camera.name for camera in cameras), tuple(cameras)))
    if not subjects:
        raise UserError(
            "no tracked folders were found here.",
            where=path,
            hint="Expected SUBJECT/CAMERA/sequence.json or NAME.tracked/sequence.json (docs/synthetic_people.md).",
        )
    return SubjectSet(path, tuple(subjects))


def _read_described(path: Path) -> SubjectSet:
    file = path / SET_FILE
    header = read_json(file)
    again = "Make the set again, or remove set.json to read the folders as they are."
    if not isinstance(header, dict) or header.get("format") != SET_FORMAT:
        raise UserError(f'key "format" must be "{SET_FORMAT}": this is not a set of ours.', where=file, hint=again)
    if header.get("format_version") != SET_VERSION:
        found = header.get("format_version")
        raise UserError(f'key "format_version" is {found!r}, this program reads {SET_VERSION}.', where=file, hint=again)
    names = {}
    for key in ("subjects", "cameras"):
        value = header.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
            raise UserError(f'key "{key}" must be a list of at least one name.', where=file, hint=again)
        if len(set(value)) != len(value):
            raise UserError(f'key "{key}" has a name twice.', where=file, hint=again)
        names[key] = tuple(check_file_name(name, file, f'a name under the key "{key}"') for name in value)
    subjects = []
    for name in names["subjects"]:
        folders = tuple(path / name / camera for camera in names["cameras"])
        for folder in folders:
            if not is_tracked_folder(folder):
                what = "the folder of this subject" if not folder.parent.is_dir() else "this camera of the subject"
                raise UserError(f"{what} is missing; set.json names it.", where=folder, hint=again)
        subjects.append(SetSubject(name, names["cameras"], folders))
    return SubjectSet(path, tuple(subjects), header)


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
