"""Head and body apart: the head must not move when the body gets a pose of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.sequence.validate import project
from spatialavatar.track.body import body_rotation, follow_torso, posed_joints, world_motion
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


def test_the_body_follows_a_torso_that_leans_and_shifts(case: tuple[Synthetic, FaceModel, Fit]) -> None:
    """Maps made from a known rigid motion of the body: its mesh must come to lie where that motion had it."""
    truth, model, fit = case
    count = 5
    origin = torch.tensor([[0.0, 0.0, 0.9]]).repeat(count, 1)
    cameras, intrinsics = truth.camera_from_world[:1].repeat(count, 1, 1), truth.intrinsics[:1].repeat(count, 1, 1)
    is_body = truth.head.skinning_weights[:, 0] > 0.8
    prepared = truth.head.prepare_identity(fit.unknowns.identity)
    still = prepared.shaped_template[is_body] - prepared.joints[0]
    root = torch.tensor([[0.0, -0.1, -0.05]]).repeat(count, 1)
    body = torch.eye(3).repeat(count, 1, 1)
    amount = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])[:, None]
    turn = rotation_matrix_from_axis_angle(amount * torch.tensor([[0.15, 0.0, 0.06]]))
    moved_root = root + amount * torch.tensor([[0.02, 0.0, 0.04]])
    pixels, _ = project(still @ turn.mT + moved_root[:, None], cameras, intrinsics)
    before, _ = project((still + root[:1])[None], cameras[:1], intrinsics[:1])
    front = still[:, 2] > still[:, 2].median()
    ones = torch.cat([before[0, front], torch.ones(int(front.sum()), 1)], 1)
    maps = torch.linalg.lstsq(ones.expand(count, -1, -1), pixels[:, front]).solution.mT.double().numpy()
    found, found_root = follow_torso(model, fit.unknowns.identity, body, root, maps, origin, intrinsics, frame_rate=1.0)
    after, _ = project(still @ found.mT + found_root[:, None], cameras, intrinsics)
    error = (after - pixels)[:, front].norm(dim=-1).mean()
    moved = (before - pixels)[:, front].norm(dim=-1).mean()
    # An affine map is not quite a rigid motion seen in perspective: a tenth of the way is left, no more.
    assert float(moved) > 5 and float(error) < 0.15 * float(moved)


def test_a_body_without_a_torso_in_sight_stays(case: tuple[Synthetic, FaceModel, Fit]) -> None:
    truth, model, fit = case
    body, root = torch.eye(3).repeat(2, 1, 1), torch.zeros(2, 3)
    same = follow_torso(model, fit.unknowns.identity, body, root, None, root, truth.intrinsics[:2], 25.0)
    assert same[0] is body and same[1] is root


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
