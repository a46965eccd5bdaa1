"""Head and body apart: the head must not move when the body gets a pose of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.sequence.validate import project
from spatialavatar.track.body import body_rotation, posed_joints, world_motion
from spatialavatar.track.fit import Fit, start
from spatialavatar.track.model import FaceModel, face_model, project_rig, start_unknowns
from tests.track.synthetic import Synthetic, synthetic


@pytest.fixture(scope="module")
def case() -> tuple[Synthetic, FaceModel, Fit]:
    truth = synthetic(4)
    model = face_model(truth.head, load_landmarks(truth.head))
    view, _ = start(model, truth.observations, np.arange(4))
    unknowns = start_unknowns(model, 4, 5)
    unknowns.expression[:, truth.head.expression_names.index("jawOpen")] = 0.5
    unknowns.turn[:, 2] = 0.1
    unknowns.gaze[:, 1] = 0.2
    return truth, model, Fit(unknowns, view, torch.ones(4, dtype=torch.bool))


@pytest.mark.parametrize("kind", ["video", "photos"])
def test_the_head_stays_exactly_where_the_fit_has_it(case: tuple[Synthetic, FaceModel, Fit], kind: str) -> None:
    from dataclasses import replace

    truth, model, fit = case
    motion, cameras, intrinsics = world_motion(model, fit, replace(truth.observations, kind=kind))
    vertices = truth.head.pose(fit.unknowns.identity, motion)
    pixels, _ = project(vertices, cameras, intrinsics)
    wanted = project_rig(truth.head.rig, model, fit.unknowns, fit.view)
    # Vertices that do not hang on the root at all: their place may not change by more than rounding of float32.
    rigid = truth.head.skinning_weights[:, 0] == 0
    assert float((pixels - wanted)[:, rigid].abs().max()) < 0.01


def test_the_body_follows_the_torso_in_the_image(case: tuple[Synthetic, FaceModel, Fit]) -> None:
    from spatialavatar.track.body import _torso_in_world

    truth, _, _ = case
    maps = np.repeat(np.eye(2, 3)[None], 3, 0)
    maps[:, 0, 2] = [-4, 0, 4]  # The torso moves 4 pixels a frame to the right.
    root = torch.tensor([[0.0, -0.2, -0.08]]).repeat(3, 1)
    roll, shift = _torso_in_world(maps, root, truth.camera_from_world[:3], truth.intrinsics[:3], frame_rate=1.0)
    before, _ = project(root[:, None], truth.camera_from_world[:3], truth.intrinsics[:3])
    after, _ = project((root + shift)[:, None], truth.camera_from_world[:3], truth.intrinsics[:3])
    assert torch.allclose((after - before)[:, 0, 0], torch.tensor([-4.0, 0.0, 4.0]), atol=1e-3)
    assert float(roll.abs().max()) == 0


def test_a_body_stands_more_upright_than_its_head() -> None:
    angle = torch.tensor(0.4)
    nod = torch.tensor([[1.0, 0, 0], [0, angle.cos(), -angle.sin()], [0, angle.sin(), angle.cos()]])
    body = body_rotation(nod.repeat(3, 1, 1), torch.ones(3, dtype=torch.bool), together=True)
    forward = body[0, :, 2]
    assert -0.3 < float(forward[1]) < -0.05 and abs(float(forward[0])) < 1e-6


def test_joints_move_with_expressions_as_the_head_has_it(case: tuple[Synthetic, FaceModel, Fit]) -> None:
    truth, _, fit = case
    joints = posed_joints(truth.head, fit.unknowns.identity, fit.unknowns.expression)
    assert joints.shape == (4, 5, 3)
    rest = truth.head.prepare_identity(fit.unknowns.identity).joints
    assert torch.allclose(joints[:, 0], rest[0].expand(4, 3), atol=5e-3)
