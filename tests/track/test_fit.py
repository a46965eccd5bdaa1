"""The fit on observations with known truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from spatialavatar.sequence.validate import alignment_score, project
from spatialavatar.track.fit import fit_head, fit_steps, start
from spatialavatar.track.loss import FitConfig, loss
from spatialavatar.track.match import match_contours
from spatialavatar.track.measure import landmark_error, outline_error
from spatialavatar.track.model import face_model, full_expression, start_unknowns
from spatialavatar.track.tracker import fit_sequence
from tests.track.synthetic import HASTY, QUICK, Synthetic, synthetic


@pytest.fixture(scope="module")
def truth() -> Synthetic:
    return synthetic(8)


@pytest.fixture(scope="module")
def fitted(truth: Synthetic) -> TrackedSequence:
    sequence = fit_sequence(truth.observations, truth.head, QUICK)
    return replace(sequence, frames=MemoryFrames(truth.images, truth.mattes))


def head_rotations(sequence: TrackedSequence) -> torch.Tensor:
    """(T, 3, 3) of the head in the camera's axes."""
    motion = sequence.motion
    body, neck = rotation_matrix_from_axis_angle(motion.global_rotation), motion.neck_rotation
    return sequence.camera_from_world[:, :3, :3] @ body @ rotation_matrix_from_axis_angle(neck)


def test_the_fit_recovers_rotations(truth: Synthetic, fitted: TrackedSequence) -> None:
    found = head_rotations(fitted)
    true = head_rotations(replace(fitted, motion=truth.motion, camera_from_world=truth.camera_from_world))
    error = axis_angle_from_rotation_matrix(found @ true.mT).norm(dim=1)
    # A rotation can be traded for the shape of an unknown face, and identity has a prior: a constant degree or three.
    assert float(error.max()) < math.radians(4)
    constant = axis_angle_from_rotation_matrix(found @ true.mT).mean(0)
    assert float((axis_angle_from_rotation_matrix(found @ true.mT) - constant).norm(dim=1).max()) < math.radians(1.5)


def test_landmarks_and_outline_fall_where_they_were_seen(truth: Synthetic, fitted: TrackedSequence) -> None:
    embedding = load_landmarks(truth.head)
    # 1 % of the inter-ocular distance is 0.2 pixels at this size: priors bias the fit by about that much.
    assert landmark_error(fitted, truth.head, embedding).median < 0.01
    error = outline_error(fitted, truth.head)
    # In pixels at 512, which are half of this picture's: both outlines lie on whole pixels of it, one apart.
    assert error.skin.median < 2.5 and error.measured > 0.9 and error.outside < 3
    overlap, inside = alignment_score(fitted, truth.head)
    assert overlap > 0.93 and inside > 0.93


def test_expressions_are_recovered(truth: Synthetic, fitted: TrackedSequence) -> None:
    names = truth.head.expression_names
    # Measured: 0.019 and 0.10; lids are a few pixels high here.
    for name, tolerance in (("jawOpen", 0.05), ("eyeBlinkLeft", 0.15)):
        found, true = (m.expression[:, names.index(name)] for m in (fitted.motion, truth.motion))
        assert float((found - true).abs().max()) < tolerance
    assert float(fitted.motion.expression.min()) >= 0 and float(fitted.motion.expression.max()) <= 1
    assert float(fitted.motion.jaw_rotation.abs().max()) == 0  # "jawOpen" opens this head's mouth.
    gaze = fitted.motion.eyes_rotation[:, 1] - truth.motion.eyes_rotation[:, 1]
    assert float((gaze - gaze.mean()).abs().max()) < 0.1


def test_the_world_hangs_on_the_median_head(fitted: TrackedSequence) -> None:
    cameras = fitted.camera_from_world
    assert torch.equal(cameras, cameras[:1].expand_as(cameras))
    assert torch.allclose(cameras[0, :3, :3], torch.diag(torch.tensor([1.0, -1.0, -1.0])))
    assert 0.5 < float(cameras[0, 2, 3]) < 1.5


def test_unseen_frames_lie_between_their_neighbours() -> None:
    case = synthetic(5, unseen=(2,))
    sequence = fit_sequence(case.observations, case.head, HASTY)
    assert sequence.is_valid.tolist() == [True, True, False, True, True]
    expression = sequence.motion.expression
    assert torch.allclose(expression[2], (expression[1] + expression[3]) / 2, atol=1e-5)
    assert bool(torch.isfinite(sequence.motion.translation).all())
    assert sequence.landmarks is not None and bool(sequence.landmarks[2].isnan().all())


@pytest.mark.parametrize("kind", ["video", "photos"])
def test_a_known_lens_stays(kind: str) -> None:
    case = synthetic(3, kind=kind)
    sequence = fit_sequence(case.observations, case.head, replace(HASTY, known_focal=2.1))
    source = case.observations.image_sizes.max(1) * case.observations.scales
    assert sequence.intrinsics[:, 0, 0].numpy() == pytest.approx(2.1 * source, rel=1e-5)
    free = fit_sequence(case.observations, case.head, HASTY)
    assert abs(float(free.intrinsics[0, 0, 0]) / float(sequence.intrinsics[0, 0, 0]) - 1) > 0.01


def test_several_photos_share_the_identity_only() -> None:
    case = synthetic(3, kind="photos")
    sequence = fit_sequence(case.observations, case.head, HASTY)
    assert sequence.kind == "photos" and sequence.identity.ndim == 1
    assert len(torch.unique(sequence.intrinsics[:, 0, 0])) == 3
    # Each photo's camera stands before its own head.
    vertices = case.head.pose(sequence.identity, sequence.motion)
    centres = vertices[:, :1000].mean(1)
    assert float((centres - centres.mean(0)).norm(dim=1).max()) < 0.05


def test_landmarks_and_outlines_of_photos_at_once_fall_as_near() -> None:
    case = synthetic(2, kind="photos")
    embedding, advanced = load_landmarks(case.head), 0

    def advance(steps: int = 1) -> None:
        nonlocal advanced
        advanced += steps

    in_turn, at_once = QUICK, replace(QUICK, photo_steps=5 * QUICK.key_steps // 4)
    errors = []
    for config in (in_turn, at_once):
        sequence = fit_sequence(case.observations, case.head, config)
        errors.append(landmark_error(sequence, case.head, embedding).median)
    # A tenth: neither has quite arrived.
    assert errors[1] < 1.1 * errors[0], errors
    short = replace(HASTY, photo_steps=4)
    fit_head(face_model(case.head, embedding), case.observations, short, advance)
    assert advanced == fit_steps(short, "photos") < fit_steps(HASTY, "photos")


def test_the_loss_has_the_gradient_of_finite_differences(truth: Synthetic) -> None:
    head64 = truth.head.to(torch.float64)
    model = face_model(head64, load_landmarks(truth.head))
    # How squarely a landmark faces the camera weights it but is held fixed in a step: all of them face it here.
    ahead = torch.tensor([0.0, 0, 1], dtype=torch.float64).expand_as(model.normals)
    model = replace(model, weights=model.weights.double(), free=model.free.double(), normals=ahead)
    view, targets = start(face_model(truth.head, load_landmarks(truth.head)), truth.observations, np.arange(8))
    view = replace(view, **{n: getattr(view, n).double() for n in vars(view)})
    targets = replace(targets, **{n: getattr(targets, n).double() for n in vars(targets) if n != "apertures"})
    unknowns = start_unknowns(model, 8, 5)
    unknowns = replace(unknowns, **{n: getattr(unknowns, n).double() for n in vars(unknowns)})
    # Away from straight ahead, where the lids' part in looking around begins with a kink.
    unknowns = replace(unknowns, gaze=unknowns.gaze + 0.1)
    times = torch.arange(8.0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    # The outline's extents switch vertices, so a small step is taken and a kink may be met: hence 1e-3.
    for name in ("identity", "turn", "place", "log_scale", "log_focal", "expression", "gaze"):
        value = getattr(unknowns, name)
        direction = torch.randn(value.shape, generator=generator, dtype=torch.float64)

        def at(x: torch.Tensor, name: str = name) -> torch.Tensor:
            return loss(model, replace(unknowns, **{name: x}), view, targets, FitConfig(), times=times, frame_rate=25.0)

        leaf = value.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(at(leaf), leaf)
        step = 1e-6
        numeric = (at(value + step * direction) - at(value - step * direction)) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=1e-3, abs=1e-6)


def test_lids_follow_the_gaze(truth: Synthetic) -> None:
    model = face_model(truth.head, load_landmarks(truth.head))
    gaze = torch.tensor([[math.radians(12.5), math.radians(-15.0), 0.0]])  # Down, to the subject's right.
    expression = full_expression(model, replace(start_unknowns(model, 1, 5), gaze=gaze))[0]
    looks = {n: float(v) for n, v in zip(truth.head.expression_names, expression, strict=True) if "eyeLook" in n}
    moved = {name for name, value in looks.items() if value > 0}
    assert moved == {"eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookOutRight"}
    assert all(looks[name] == pytest.approx(0.5) for name in moved)


def test_contours_of_the_true_head_match_themselves(truth: Synthetic) -> None:
    model = face_model(truth.head, load_landmarks(truth.head))
    view, _ = start(model, truth.observations, np.arange(8))
    unknowns = start_unknowns(model, 8, 5)
    matches = match_contours(
        model, unknowns, view, truth.observations.contours, truth.observations.landmarks[..., :2], 256
    )
    assert matches is not None
    assert float(matches.weights.mean()) > 0.5
    lengths = matches.normals[matches.weights > 0].norm(dim=-1)
    assert float((lengths - 1).abs().max()) < 1e-3
    assert float(matches.skin[matches.weights > 0].mean()) > 0.8  # The synthetic head has no hair.


def test_the_mesh_is_where_the_sequence_says(truth: Synthetic, fitted: TrackedSequence) -> None:
    """The split of body and neck leaves the projected face where the fit had it."""
    pixels, _ = project(truth.head.pose(fitted.identity, fitted.motion), fitted.camera_from_world, fitted.intrinsics)
    true, _ = project(truth.head.pose(truth.identity, truth.motion), truth.camera_from_world, truth.intrinsics)
    face = truth.head.template[:, 2] > 0.03
    # Between the landmarks only the shape prior speaks: 1.5 pixels of 256.
    assert float((pixels - true)[:, face].norm(dim=-1).mean()) < 1.5
