"""The validator: a good folder, another head, a wrong camera convention."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.sequence.validate import project, silhouette_mask, validate_sequence
from tests.sequence.ball import ball_head, ball_sequence


def test_a_good_folder(tmp_path: Path) -> None:
    write_sequence(ball_sequence(), tmp_path / "a")
    found = validate_sequence(tmp_path / "a", ball_head())
    assert found.ok and found.frames == 4
    # Mattes are the silhouettes themselves.
    assert found.alignment == pytest.approx(1.0) and found.inside == pytest.approx(1.0)
    assert found.warnings == ("1 of 4 frames had no face; their motion was filled in.",)
    found.raise_first()


def test_without_a_head_only_files_are_checked(tmp_path: Path) -> None:
    write_sequence(ball_sequence(), tmp_path / "a")
    found = validate_sequence(tmp_path / "a")
    assert found.ok and np.isnan(found.alignment)


def test_a_mirrored_camera_is_caught(tmp_path: Path) -> None:
    write_sequence(ball_sequence(mirrored=True), tmp_path / "a")
    found = validate_sequence(tmp_path / "a", ball_head())
    assert not found.ok and found.alignment < 0.3
    with pytest.raises(UserError, match="does not lie on the pictures"):
        found.raise_first()


def test_a_camera_that_looks_away_is_caught(tmp_path: Path) -> None:
    sequence = ball_sequence()
    away = sequence.camera_from_world.clone()
    away[:, 2] *= -1  # OpenGL's convention taken for OpenCV's: everything is behind the camera.
    write_sequence(replace(sequence, camera_from_world=away), tmp_path / "a")
    assert validate_sequence(tmp_path / "a", ball_head()).alignment == 0


def test_another_head_is_named(tmp_path: Path) -> None:
    write_sequence(ball_sequence(), tmp_path / "a")
    found = validate_sequence(tmp_path / "a", replace(ball_head(), edition="cube-7"))
    assert "ball-1" in found.problems[0].what and "cube-7" in found.problems[0].what
    smaller = replace(ball_head(), expression_basis=torch.zeros(1, 192, 3), expression_names=("down",))
    assert '"expression" has 2 columns' in validate_sequence(tmp_path / "a", smaller).problems[0].what
    fewer = replace(ball_head(), identity_basis=torch.zeros(1, 192, 3))
    assert '"identity" has length 2' in validate_sequence(tmp_path / "a", fewer).problems[0].what


def test_projection_is_a_pinhole() -> None:
    camera = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    camera[2, 3] = 2.0
    intrinsics = torch.tensor([[100.0, 0, 32], [0, 100, 40], [0, 0, 1]])
    pixels, depths = project(torch.tensor([[0.2, 0.1, 1.0]]), camera, intrinsics)
    assert torch.allclose(pixels, torch.tensor([[52.0, 30.0]])) and depths.tolist() == [1.0]


def test_a_square_covers_its_pixels() -> None:
    corners = np.array([[2, 3], [10, 3], [10, 9], [2, 9]], np.float32)
    mask = silhouette_mask(corners, np.array([[0, 1, 2], [0, 2, 3]]), 16, 16)
    truth = np.zeros((16, 16), bool)
    truth[3:9, 2:10] = True
    # Pillow fills the pixels an edge touches: at most one more all round.
    assert (mask | truth).sum() == mask.sum() and mask.sum() <= 10 * 8
