"""Sets of made-up people: the same bytes for all, whole subjects only, true to their cameras and mattes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spatialavatar.errors import UserError
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.open_head import load_open_head
from spatialavatar.sequence.folder import folder_problems
from spatialavatar.sequence.sets import MAKING_FILE, SET_FILE, read_set
from spatialavatar.sequence.validate import project, silhouette_mask
from spatialavatar.synth.make import SetPlan, make_set, make_subject

PLAN = SetPlan("monocular", subjects=2, frames=2, cameras=1, size=64, seed=5, samples=1)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set made by two processes."""
    return make_set(PLAN, tmp_path_factory.mktemp("sets") / "two", workers=2)


@pytest.fixture(scope="module")
def seen_from_the_side(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A subject before three cameras."""
    root = tmp_path_factory.mktemp("sets")
    make_subject(replace(PLAN, name="multiview", cameras=3), root, 0)
    return root


def test_neither_processes_nor_their_number_change_a_byte(made: Path, tmp_path: Path) -> None:
    # In this process, with whatever threads it has, against a process of its own.
    folder = make_subject(PLAN, tmp_path, 1)
    assert digest(folder) == digest(made / folder.name)


def test_a_set_is_made_of_sound_tracked_folders(made: Path) -> None:
    subjects = read_set(made)
    assert [subject.name for subject in subjects] == ["person_00000", "person_00001"]
    assert subjects.header["split"] == "train" and subjects.header["head_edition"] == load_open_head().edition
    for subject in subjects:
        assert folder_problems(subject.folders[0]) == []
        assert subject.cameras[0].kind == "video" and len(subject) == PLAN.frames
    assert (made / "sheet.png").is_file() and not (made / MAKING_FILE).exists()


def test_making_it_again_changes_nothing(made: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in made.rglob("*")}
    make_set(PLAN, made)
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*")} == before


def test_a_killed_run_goes_on_and_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "killed"
    root.mkdir()
    # What a kill leaves: a whole subject, a half-written one under another name, the note that it is being made.
    (root / MAKING_FILE).write_text(json.dumps(PLAN.header()))
    (root / ".person_00001.x7").mkdir()
    (made / "person_00000").rename(root / "person_00000")
    try:
        with pytest.raises(UserError, match="not finished"):
            read_set(root)
        make_subject(PLAN, root, 1)
        make_set(PLAN, root)
        (root / "person_00000").rename(made / "person_00000")
        assert digest(root / "person_00001") == digest(made / "person_00001")
        assert {p.name for p in root.iterdir()} == {"person_00001", SET_FILE, "sheet.png"}
    finally:
        if (root / "person_00000").exists():
            (root / "person_00000").rename(made / "person_00000")


def test_another_plan_in_the_same_folder_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another set: its seed is 5, wanted 6"):
        make_set(replace(PLAN, seed=6), made)
    (tmp_path / "letter.txt").write_text("not yours")
    with pytest.raises(UserError, match="something else"):
        make_set(PLAN, tmp_path)


@pytest.mark.parametrize("wrong", [{"subjects": 0}, {"size": 7}, {"cameras": 65}, {"frame_rate": 0.0}])
def test_senseless_plans_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="expected"):
        replace(PLAN, **wrong)


def test_mattes_are_the_projected_geometry(seen_from_the_side: Path) -> None:
    """The bare head lies inside the matte (hair and clothes are more), in every camera."""
    head = load_open_head()
    for subject in read_set(seen_from_the_side):
        for sequence in subject.cameras:
            for index in range(len(sequence)):
                vertices = head.pose(sequence.identity, sequence.motion[index])
                pixels, _ = project(vertices, sequence.camera_from_world[index], sequence.intrinsics[index])
                silhouette = silhouette_mask(pixels[0].numpy(), head.faces.numpy(), PLAN.size, PLAN.size)
                matte = sequence.matte(index).numpy() > 127
                # Pillow's polygons reach half a pixel beyond the triangles: the rim of a 64-pixel silhouette.
                assert (silhouette & ~matte).sum() < 0.05 * silhouette.sum()
                assert 0.15 < matte.mean() < 0.95


def test_landmarks_land_where_the_motion_and_camera_say(seen_from_the_side: Path) -> None:
    head, embedding = load_open_head(), load_landmarks(load_open_head())
    for sequence in read_set(seen_from_the_side).subjects[0].cameras:
        assert sequence.landmarks is not None
        vertices = head.pose(sequence.identity, sequence.motion)
        pixels, _ = project(embedding.points(vertices, head.faces), sequence.camera_from_world, sequence.intrinsics)
        np.testing.assert_allclose(sequence.landmarks[:, embedding.indices], pixels, atol=1e-3)  # float32 at 64 pixels


def test_cameras_of_a_subject_share_its_motion(seen_from_the_side: Path) -> None:
    first, *others = read_set(seen_from_the_side).subjects[0].cameras
    for other in others:
        assert np.array_equal(first.motion.expression, other.motion.expression)
        assert not np.array_equal(first.camera_from_world, other.camera_from_world)


def test_the_command_explains_wrong_options_and_wrong_folders(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from spatialavatar.cli.main import main

    assert main(["synth", "monocular", "-o", str(tmp_path / "new"), "--size", "7"]) == 2
    assert "--size is 7; expected 32 to 2048" in capsys.readouterr().err
    assert main(["synth", "monocular", "-o", str(made), "--subjects", "2", "--frames", "2"]) == 2
    assert "another set: its seed is 5, wanted 0" in capsys.readouterr().err
    assert main(["synth", "monocular", "-o", str(tmp_path / "no" / "where"), "--subjects", "1"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
