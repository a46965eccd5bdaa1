"""The photometric stage: corrections do what they say, and wrong motion comes back to the truth."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import project
from spatialavatar.track.corrections import Corrections, corrected, make_anchor, zoomed
from spatialavatar.track.likeness import shades, turned_shades
from spatialavatar.track.measure import fitted_landmarks
from spatialavatar.track.photometric import (
    UNITS,
    PhotometricConfig,
    _PhotometricFit,
    fit_photometric,
    photometric_steps,
)
from tests.synthetic import subject


@pytest.fixture(scope="module")
def head() -> Head:
    return load_open_head()


def wild_motion(head: Head, frames: int = 3) -> Motion:
    generator = torch.Generator().manual_seed(1)
    still = Motion.neutral(frames, head.num_expressions)
    values = {f.name: getattr(still, f.name) for f in fields(still)}
    moved = {name: 0.2 * torch.randn(value.shape, generator=generator) for name, value in values.items()}
    moved["expression"] = torch.rand(values["expression"].shape, generator=generator) * 0.5 + 0.2
    moved["jaw_rotation"] = torch.zeros_like(values["jaw_rotation"])
    return Motion(**moved)


def some_identity(head: Head) -> Tensor:
    return torch.randn(head.num_identities, generator=torch.Generator().manual_seed(2))


def test_no_corrections_change_nothing(head: Head) -> None:
    motion, identity = wild_motion(head), some_identity(head)
    same = corrected(head, identity, make_anchor(head, identity, motion), Corrections.none(3, head.num_expressions))
    # Metres; float32 rotations go to matrices and back.
    assert torch.allclose(head.pose(identity, same), head.pose(identity, motion), atol=2e-6)


def test_moving_the_body_leaves_the_face(head: Head) -> None:
    motion, identity = wild_motion(head), some_identity(head)
    none = Corrections.none(3, head.num_expressions)
    moved = replace(none, body_turn=none.body_turn + 0.1, body_shift=none.body_shift + 0.02)
    before, after = (
        head.pose(identity, corrected(head, identity, make_anchor(head, identity, motion), values))
        for values in (none, moved)
    )
    face = head.skinning_weights[:, 0] == 0
    assert face.sum() > 1000
    assert torch.allclose(before[:, face], after[:, face], atol=3e-6)
    body = head.skinning_weights[:, 0] > 0.99
    assert (before - after)[:, body].norm(dim=-1).min() > 0.01


def test_moving_the_head_turns_it_about_its_middle(head: Head) -> None:
    motion, identity = wild_motion(head), some_identity(head)
    anchor = make_anchor(head, identity, motion)
    none = Corrections.none(3, head.num_expressions)
    turn, shift = torch.tensor([[0.1, -0.2, 0.05]]).expand(3, 3), torch.tensor([[0.01, 0.0, -0.02]]).expand(3, 3)
    before = head.pose(identity, corrected(head, identity, anchor, none))
    after = head.pose(identity, corrected(head, identity, anchor, replace(none, head_turn=turn, head_shift=shift)))
    rotation = rotation_matrix_from_axis_angle(turn)
    expected = (before - anchor.middle[:, None]) @ rotation.mT + anchor.middle[:, None] + shift[:, None]
    face = (head.skinning_weights[:, 0] == 0) & (head.skinning_weights[:, 1] > 0.999)
    assert torch.allclose(after[:, face], expected[:, face], atol=3e-6)


def test_gradients_of_corrections_agree_with_differences(head: Head) -> None:
    """In float64: a step of 1e-6 leaves rounding of 1e-10 and curvature of the same size."""
    double = head.to(torch.float64)
    motion, identity = wild_motion(head, 1).to(torch.float64), some_identity(head).double()
    anchor = make_anchor(double, identity, motion)
    none = Corrections.none(1, head.num_expressions)
    leaves = {f.name: getattr(none, f.name).double().requires_grad_() for f in fields(none)}
    leaves["identity"] = identity.clone().requires_grad_()
    pull = torch.randn(head.num_vertices, 3, generator=torch.Generator().manual_seed(3)).double()

    def value() -> Tensor:
        parts = {name: leaf for name, leaf in leaves.items() if name != "identity"}
        posed = double.pose(leaves["identity"], corrected(double, leaves["identity"], anchor, Corrections(**parts)))
        return (posed[0] * pull).sum()

    gradients = dict(zip(leaves, torch.autograd.grad(value(), list(leaves.values())), strict=True))
    generator = torch.Generator().manual_seed(4)
    for name, leaf in leaves.items():
        way = torch.randn(leaf.shape, generator=generator).double()
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                leaf.add_(way, alpha=sign * 1e-6)
                ends.append(value())
                leaf.add_(way, alpha=-sign * 1e-6)
        expected = float(ends[0] - ends[1]) / 2e-6
        assert float((gradients[name] * way).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-6), name


def test_shades_of_turned_normals_are_turned_shades() -> None:
    """Two bands are closed under rotation; float32."""
    generator = torch.Generator().manual_seed(1)
    normals = torch.nn.functional.normalize(torch.randn(100, 3, generator=generator), dim=1)
    rotations = rotation_matrix_from_axis_angle(torch.randn(5, 3, generator=generator))
    for rotation, turn in zip(rotations, turned_shades(rotations), strict=True):
        torch.testing.assert_close(shades(normals) @ turn, shades(normals @ rotation.T), atol=1e-5, rtol=1e-5)


def turned_wrongly(sequence: TrackedSequence, radians: float) -> TrackedSequence:
    noise = torch.randn(len(sequence), 3, generator=torch.Generator().manual_seed(5)) * radians
    return replace(sequence, motion=replace(sequence.motion, neck_rotation=sequence.motion.neck_rotation + noise))


def turn_error(sequence: TrackedSequence, truth: TrackedSequence) -> float:
    """Mean angle between the two head rotations, without what all frames have in common."""
    found, true = (
        rotation_matrix_from_axis_angle(s.motion.global_rotation)
        @ rotation_matrix_from_axis_angle(s.motion.neck_rotation)
        for s in (sequence, truth)
    )
    apart = found @ true.mT
    u, _, vt = torch.linalg.svd(apart.mean(0))
    cosine = ((apart @ (u @ vt).mT).diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    return float(cosine.clamp(-1, 1).acos().mean())


SMALL = PhotometricConfig(
    passes=1, fewest_steps=360, resolution=48, size=96, coarse=0.0, likeness_first=30, prior=1e-4, smooth=0.0, rate=0.15
)


@pytest.mark.slow
def test_wrong_turns_come_back_to_the_truth() -> None:
    truth = subject(frames=8, size=96).sequence
    wrong = turned_wrongly(truth, 0.02)
    before = turn_error(wrong, truth)
    found = fit_photometric(wrong, load_open_head(), replace(SMALL, fewest_steps=720))
    after = turn_error(found, truth)
    assert before > 0.025
    # From 0.032 to 0.0054 rad: a tenth of a pixel on a head of 50 pixels, from almost one.
    assert after < 0.01, (before, after)


def test_the_same_seed_gives_the_same_tracking() -> None:
    sequence = turned_wrongly(subject(frames=8, size=64).sequence, 0.03)
    quick = replace(SMALL, fewest_steps=30, likeness_first=10, size=64)
    first, second = (fit_photometric(sequence, load_open_head(), quick) for _ in range(2))
    assert torch.equal(first.motion.neck_rotation, second.motion.neck_rotation)
    assert not torch.equal(first.motion.neck_rotation, sequence.motion.neck_rotation)


def test_a_known_lens_stays() -> None:
    sequence = turned_wrongly(subject(frames=8, size=64).sequence, 0.03)
    quick = replace(SMALL, fewest_steps=30, likeness_first=10, size=64)
    held = fit_photometric(sequence, load_open_head(), replace(quick, known_lens=True))
    assert torch.equal(held.intrinsics, sequence.intrinsics)
    assert not torch.equal(held.motion.neck_rotation, sequence.motion.neck_rotation)
    assert not torch.equal(fit_photometric(sequence, load_open_head(), quick).intrinsics, sequence.intrinsics)


def test_frames_without_a_face_follow_their_neighbours() -> None:
    sequence = subject(frames=10, size=64).sequence
    valid = torch.ones(10, dtype=torch.bool)
    valid[4] = False
    quick = replace(SMALL, fewest_steps=40, likeness_first=5, size=64)
    found = fit_photometric(replace(sequence, valid=valid), load_open_head(), quick)
    moved = found.motion.eyes_rotation - sequence.motion.eyes_rotation
    assert moved.abs().max() > 0.01
    assert torch.allclose(moved[4], (moved[3] + moved[5]) / 2, atol=1e-6)


def test_photos_and_short_videos_stay_as_they_are() -> None:
    sequence = subject(frames=4, size=64).sequence
    config = PhotometricConfig()
    assert photometric_steps(config, sequence) == 0
    assert fit_photometric(sequence, load_open_head(), config) is sequence
    photos = replace(subject(frames=9, size=64).sequence, kind="photos")
    assert fit_photometric(photos, load_open_head(), config) is photos


def test_a_longer_lens_is_farther_away_and_draws_what_the_fit_drew() -> None:
    """What `result` gives has the pixels that the fit saw with its zoom: the head as large as before, less perspective.

    Pixels to 1e-3: float32 at half a metre.
    """
    head = load_open_head()
    sequence = subject(frames=9, size=64).sequence
    fit = _PhotometricFit(sequence, head, SMALL, 0, ())
    fit.shared["log_focal"] += 1.5
    found = fit.result()
    zoom = torch.tensor([math.exp(1.5 * UNITS["log_focal"])])
    assert torch.allclose(found.intrinsics[:, 0, 0], sequence.intrinsics[:, 0, 0] * zoom)
    for frame in (0, 5):
        vertices = head.pose(sequence.identity, sequence.motion[frame])
        _, (camera,) = zoomed(vertices, sequence.camera_from_world[[frame]], zoom, fit.depths[[frame]])
        k = sequence.intrinsics[frame]
        drawn = camera[:, :2] / camera[:, 2:] * k[0, 0] + k[:2, 2]
        posed = head.pose(found.identity, found.motion[frame])
        pixels, depths = project(posed, found.camera_from_world[frame : frame + 1], found.intrinsics[frame : frame + 1])
        assert (pixels[0] - drawn).abs().max() < 1e-3
        assert depths.mean() > camera[:, 2].mean() - 1e-4 > fit.depths[frame]
    middle = make_anchor(head, found.identity, found.motion).middle
    before = make_anchor(head, sequence.identity, sequence.motion).middle
    assert torch.allclose(middle.median(0).values, before.median(0).values, atol=1e-5)


def test_landmarks_without_offsets_move_only_what_all_frames_share() -> None:
    """And the restricted rig puts the landmarks where the whole mesh has them."""
    head = load_open_head()
    sequence = subject(frames=9, size=64).sequence
    embedding = load_landmarks(head)
    found = torch.zeros(9, 478, 2)
    found[:, embedding.indices] = fitted_landmarks(sequence, head, embedding, torch.arange(9))
    fit = _PhotometricFit(replace(sequence, landmarks=found), head, SMALL, 0, ())

    def gradients(frame: int) -> tuple[float, dict[str, Tensor | None]]:
        leaves = {name: value.clone().requires_grad_() for name, value in fit.shared.items()}
        leaves |= fit.frames.leaves([frame])
        loss = fit._shared_landmark_loss([frame], leaves)
        loss.backward()
        return float(loss.detach()), {name: leaf.grad for name, leaf in leaves.items()}

    # Pixels of float32 over 3 % of the inter-ocular distance, squared.
    assert gradients(4)[0] < 1e-8
    fit.shared["identity"][0] = 1.0
    loss, found_gradients = gradients(4)
    assert loss > 1e-3
    moving = {name for name, gradient in found_gradients.items() if gradient is not None and bool(gradient.any())}
    assert moving == {"identity", "log_focal"}


def test_smoothness_stops_at_a_cut() -> None:
    head = load_open_head()
    sequence = subject(frames=9, size=64).sequence
    jump = sequence.motion.translation.clone()
    jump[5:, 0] += 0.1
    jumping = replace(sequence, motion=replace(sequence.motion, translation=jump))

    def pull(cuts: tuple[int, ...], frame: int) -> float:
        fit = _PhotometricFit(jumping, head, replace(SMALL, smooth=1.0, rigid=1.0), 0, cuts)
        leaves = fit.frames.leaves([frame])
        fit._add_priors([frame], leaves)
        gradient = leaves["head_shift"].grad
        return 0.0 if gradient is None else float(gradient.norm())

    assert pull((), 4) > 0.1 and pull((), 5) > 0.1
    assert pull((5,), 4) == 0 and pull((5,), 5) == 0
    assert pull((5,), 2) == pytest.approx(pull((), 2))


def test_the_gradient_of_the_priors_is_autograds() -> None:
    head = load_open_head()
    sequence = subject(frames=9, size=64).sequence
    config = replace(SMALL, smooth=0.7, prior=0.3, rigid=0.4)
    fit = _PhotometricFit(sequence, head, config, 0, ())
    generator = torch.Generator().manual_seed(0)
    for value in fit.frames.values.values():
        value.copy_(torch.randn(value.shape, generator=generator))
    for value in fit.shared.values():
        value.copy_(torch.randn(value.shape, generator=generator))

    def unknowns() -> dict[str, Tensor]:
        shared = {name: value.clone().requires_grad_() for name, value in fit.shared.items()}
        return {**fit.frames.leaves([4, 6]), **shared}

    leaves, again = unknowns(), unknowns()
    leaves["head_turn"].grad = torch.ones(2, 3)  # what the pictures said stays
    fit._add_priors([4, 6], leaves)
    total = torch.zeros(())
    for name, leaf in again.items():
        for row, frame in enumerate((4, 6)):
            if name in fit.shared:
                total = total + config.prior * leaf.square().mean()
                continue
            held = config.rigid if name.startswith(("head", "body")) else 1.0
            total = total + held * config.prior * leaf[row].square().mean()
            if name in fit.path:
                paths = [fit.path[name][k] + fit.frames.values[name][k] for k in (frame - 1, frame + 1)]
                bend = fit.path[name][frame] + leaf[row] - 0.5 * (paths[0] + paths[1])
                total = total + held * config.smooth * (sequence.frame_rate / 25) ** 2 * bend.square().mean()
    total = total + again["head_turn"].sum()
    total.backward()
    for name, leaf in again.items():
        # The same sums in another order, float32.
        torch.testing.assert_close(leaves[name].grad, leaf.grad, rtol=1e-5, atol=1e-6)
