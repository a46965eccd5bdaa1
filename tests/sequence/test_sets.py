"""Reading sets: with and without set.json, and what is said when something is missing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.sets import read_set


def sequence(frames: int = 2) -> TrackedSequence:
    return TrackedSequence(
        head_edition="head-1",
        identity=torch.ones(3),
        motion=Motion.neutral(frames, 4),
        camera_from_world=torch.eye(4).repeat(frames, 1, 1),
        intrinsics=torch.eye(3).repeat(frames, 1, 1),
        width=4,
        height=4,
        frame_rate=5.0,
        names=tuple(f"{k}" for k in range(frames)),
    )


def write(folder: Path, what: TrackedSequence) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    count = len(what)
    write_sequence(what, folder, [np.zeros((4, 4, 3), np.uint8)] * count, [np.zeros((4, 4), np.uint8)] * count)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for subject in ("anna", "ben"):
        for camera in ("left", "right"):
            write(tmp_path / subject / camera, sequence())
    header = {"format": "spatialavatar.set", "format_version": 1, "subjects": ["anna", "ben"]}
    (tmp_path / "set.json").write_text(json.dumps({**header, "cameras": ["left", "right"]}))
    return tmp_path


def test_a_described_set_keeps_its_order_and_reads_lazily(root: Path) -> None:
    found = read_set(root)
    assert [s.name for s in found] == ["anna", "ben"] and found.subjects[0].camera_names == ("left", "right")
    shutil.rmtree(root / "ben" / "left" / "images")  # pictures are not touched before they are asked for
    assert len(found.subjects[1].cameras) == 2 and len(found.subjects[1]) == 2


def test_folders_are_a_set_without_a_description(root: Path) -> None:
    (root / "set.json").unlink()
    write(root / "me.tracked", sequence(3))
    (root / "notes").mkdir()
    (root / ".hidden").mkdir()
    found = read_set(root)
    assert [(s.name, s.camera_names) for s in found] == [
        ("anna", ("left", "right")),
        ("ben", ("left", "right")),
        ("me", ("front",)),
    ]


def test_a_missing_subject_or_camera_is_named(root: Path) -> None:
    shutil.rmtree(root / "ben" / "right")
    with pytest.raises(UserError, match="ben/right: this camera of the subject is missing"):
        read_set(root)
    shutil.rmtree(root / "ben")
    with pytest.raises(UserError, match="ben/left: the folder of this subject is missing"):
        read_set(root)


def test_cameras_that_do_not_belong_together_are_named(root: Path) -> None:
    for wrong, what in (
        (sequence(3), "number of frames \\(3, expected 2\\)"),
        (replace(sequence(), identity=torch.zeros(3)), "identity"),
        (replace(sequence(), head_edition="head-2"), "edition"),
        (replace(sequence(), motion=replace(Motion.neutral(2, 4), expression=torch.ones(2, 4))), "motion"),
    ):
        shutil.rmtree(root / "ben" / "right")
        write(root / "ben" / "right", wrong)
        with pytest.raises(UserError, match=f"ben/right: the {what}.* differs from that of the camera left"):
            _ = read_set(root).subjects[1].cameras


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, 'key "format" must be'),
        ({"format_version": 9}, 'key "format_version" is 9'),
        ({"subjects": []}, 'key "subjects" must be a list'),
        ({"cameras": ["left", "left"]}, 'key "cameras" has a name twice'),
    ],
)
def test_a_wrong_description_is_explained(root: Path, change: dict[str, object], message: str) -> None:
    header = json.loads((root / "set.json").read_text())
    (root / "set.json").write_text(json.dumps({**header, **change}))
    with pytest.raises(UserError, match=message):
        read_set(root)


def test_what_is_no_set_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_set(root / "nowhere")
    with pytest.raises(UserError, match="not a set of them"):
        read_set(root / "anna" / "left")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no tracked folders"):
        read_set(empty)
    (empty / "making.json").write_text("{}")
    with pytest.raises(UserError, match="not finished"):
        read_set(empty)
