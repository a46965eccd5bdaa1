"""Correctives: their basis, their maps against plain loops and autograd, the residual head they become, and runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spatialavatar import _native
from spatialavatar.avatar.binding import world_from_local
from spatialavatar.avatar.file import load_avatar, save_avatar
from spatialavatar.avatar.residual import both, first_part
from spatialavatar.refine.config import Correctives as CorrectivesConfig
from spatialavatar.refine.config import RefineConfig, suited_to
from spatialavatar.refine.correctives import (
    KNOWN,
    UNKNOWN,
    Correctives,
    beside_the_eyes,
    coarse_weights,
    known,
    learnable,
    local_from_rest,
    motion_basis,
    without_correctives,
)
from spatialavatar.refine.loop import refine
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.run_state import load_run, save_run
from spatialavatar.sequence.sequence import MemoryFrames
from spatialavatar.splat.render import render
from tests.avatar.test_residual import random_residual
from tests.synthetic import Subject, subject

CONFIG = CorrectivesConfig(components=3, frames_each=4, resolution=12, after=0.0)


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=12, size=96, resolution=48)


def correctives_of(made: Subject, config: CorrectivesConfig = CONFIG) -> Correctives:
    avatar, motion = made.avatar, made.sequence.motion
    found = Correctives(avatar.head, avatar.layout, avatar.prepared.shaped_template, motion, motion, config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found.maps.copy_(0.1 * torch.randn(found.maps.shape, generator=generator))
    return found


def test_components_are_those_of_the_frames(made: Subject) -> None:
    """Uncorrelated, of unit variance, about their mean; neither where somebody stands nor how far they turn counts."""
    motion = made.sequence.motion
    basis = motion_basis(motion, 3)
    plain = (motion.condition() - basis.mean) @ basis.directions.T
    assert 1 <= plain.shape[1] <= 3
    covariance = plain.T @ plain / (len(motion) - 1)
    assert torch.allclose(covariance, torch.eye(plain.shape[1]), atol=1e-3)
    turned = replace(motion, global_rotation=motion.global_rotation + 0.5)
    assert torch.allclose(basis.components(turned), basis.components(motion), atol=1e-5)
    still = replace(motion, expression=0 * motion.expression, eyes_rotation=0 * motion.eyes_rotation)
    still = replace(still, jaw_rotation=0 * motion.jaw_rotation)
    assert len(motion_basis(still, 3).directions) == 0


def test_what_was_never_seen_is_left_alone() -> None:
    values = torch.linspace(-10, 10, 401)
    found = known(values)
    inner, outer = values.abs() < KNOWN - 1, values.abs() > UNKNOWN + 1
    # The soft bends reach this far.
    assert torch.allclose(found[inner], values[inner], atol=0.05)
    assert float(found[outer].abs().max()) < 0.02 and float(found.abs().max()) < 1.05 * KNOWN
    assert torch.allclose(found, -found.flip(0), atol=1e-4)


def test_nothing_is_corrected_at_the_eyes(made: Subject) -> None:
    avatar = made.avatar
    rest = avatar.prepared.shaped_template
    much = beside_the_eyes(avatar.head, avatar.layout, rest)
    parts = avatar.head.part_of_face[avatar.layout.triangles]
    for name in ("left_eye", "right_eye"):
        assert float(much[parts == avatar.head.part_names.index(name)].max()) < 0.5
    mouth = avatar.layout.surface_points(rest, avatar.head.faces)[parts == avatar.head.part_names.index("tongue")]
    assert len(mouth) > 0 and float(much[parts == avatar.head.part_names.index("tongue")].min()) == 1
    corrections = correctives_of(made).corrections(3)
    assert not corrections["position"][much == 0].any() and corrections["position"][much == 1].any()


def test_cells_do_not_cross_parts(made: Subject) -> None:
    head, layout = made.avatar.head, made.avatar.layout
    weights = coarse_weights(head, layout, 12)
    assert torch.allclose(weights.shares.sum(1), torch.ones(len(layout)))
    parts = head.part_of_face[layout.triangles]
    part_of_cell: dict[int, int] = {}
    for cells, shares, part in zip(weights.cells.tolist(), weights.shares.tolist(), parts.tolist(), strict=True):
        for cell, share in zip(cells, shares, strict=True):
            if share > 0:
                assert part_of_cell.setdefault(cell, part) == part


def loops(found: Correctives, made: Subject, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """What `corrections` gives, in float64 and plain loops."""
    maps, here = found.maps.detach().double().numpy(), found.components[frame].double().numpy()
    turn = local_from_rest(made.avatar.head, made.avatar.layout, made.avatar.prepared.shaped_template).double().numpy()
    cells, shares = found.weights.cells.numpy(), found.weights.shares.double().numpy()
    shifts, colors = np.zeros((len(cells), 3)), np.zeros((len(cells), 3))
    for i in range(len(cells)):
        for corner in range(4):
            for k in range(len(here)):
                cell = maps[k, cells[i, corner]] * here[k] * shares[i, corner]
                shifts[i] += turn[i] @ cell[:3]
                colors[i] += found.config.color_unit * cell[3]
    return shifts, colors


def test_corrections_are_those_of_plain_loops(made: Subject) -> None:
    found = correctives_of(made)
    corrections = found.corrections(4)
    for name, truth in zip(("position", "color"), loops(found, made, 4), strict=True):
        # Sums of a dozen float32.
        assert np.allclose(corrections[name].numpy(), truth, atol=1e-5 * np.abs(truth).max()), name
        assert np.abs(truth).max() > 0.01


@pytest.mark.parametrize("threads", [1, 3])
def test_maps_learn_by_the_true_gradient(made: Subject, threads: int) -> None:
    """Corrections are linear in the maps, so a difference of any length is the derivative."""
    before = _native.threads()
    try:
        _native.set_threads(threads)
        found = correctives_of(made)
        generator = torch.Generator().manual_seed(1)
        pull = {name: torch.randn(value.shape, generator=generator) for name, value in found.gradients.items()}
        step = torch.randn(found.maps.shape, generator=generator)

        def along() -> float:
            here = found.corrections(4)
            return float(sum((here[name].double() * pull[name]).sum() for name in pull))

        at = along()
        with torch.no_grad():
            found.maps.add_(step)
        difference = along() - at
        with torch.no_grad():
            found.maps.sub_(step)
        for name, value in pull.items():
            found.gradients[name].copy_(value)
        found.learn(4, 0.0)
        assert found.maps.grad is not None
        assert float((found.maps.grad.double() * step).sum()) == pytest.approx(difference, rel=1e-4)
    finally:
        _native.set_threads(before)


def test_wrong_maps_are_refused(made: Subject) -> None:
    found = correctives_of(made)
    count = len(made.avatar)
    shifts, colors = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
    with pytest.raises(ValueError, match="map has"):
        found.kernel.spread(np.zeros((3, 4), np.float32), shifts, colors)
    with pytest.raises(ValueError, match="positions has"):
        found.kernel.gather(shifts[1:].copy(), colors, np.zeros((found.weights.count, 4), np.float32))
    arrays = [found.weights.cells.numpy(), found.weights.shares.numpy(), found.local_from_rest.numpy()]
    first, members = np.array([0, 4 * count], np.int32), np.zeros(4 * count, np.int32)
    with pytest.raises(ValueError, match="cells are not those"):  # one cell, and Gaussians that name others
        _native.CoarseMaps(*arrays, first, members, arrays[1].reshape(-1), 1.0)


def test_a_residual_head_says_the_same(made: Subject) -> None:
    found = correctives_of(made)
    residual = found.residual()
    for frame in (0, 5):
        corrections = residual.corrections(made.sequence.motion[frame].condition())
        for name, value in found.corrections(frame).items():
            # Its features are float16, as in its file.
            assert (corrections[name] - value).abs().max() < 2e-3 * value.abs().max(), name
        assert not corrections["rotation"].any() and not corrections["log_scale"].any()


def test_two_residual_heads_add_up_and_part_again(made: Subject) -> None:
    first, second = random_residual(len(made.avatar)), correctives_of(made).residual()
    together = both(first, second)
    condition = made.sequence.motion[3].condition()
    sums, one, other = together.corrections(condition), first.corrections(condition), second.corrections(condition)
    for name, value in sums.items():
        assert torch.allclose(value, one[name] + other[name], atol=1e-5), name
    parted = first_part(together, first.features.shape[1], len(first.hidden_bias)).corrections(condition)
    for name, value in parted.items():
        assert torch.allclose(value, one[name], atol=1e-6), name
    with pytest.raises(ValueError, match="different avatars"):
        both(first, random_residual(len(made.avatar) + 1))


def moving_cheeks(made: Subject) -> Subject:
    """The subject with something that its head model does not know: with one expression a cheek moves and darkens."""
    sequence, avatar = made.sequence, made.avatar
    time = torch.linspace(0, 2 * torch.pi, len(sequence))
    expression = torch.zeros_like(sequence.motion.expression)
    expression[:, 3] = 0.5 + 0.5 * torch.sin(time)
    motion = replace(sequence.motion, expression=expression, eyes_rotation=0 * sequence.motion.eyes_rotation)
    points = avatar.layout.surface_points(avatar.prepared.shaped_template, avatar.head.faces)
    near = torch.exp(-((points - points[points[:, 2].argmax()]) / 0.03).square().sum(1))[:, None]
    images, mattes = {}, {}
    for index, name in enumerate(sequence.names):
        much = expression[index, 3]
        local = avatar.gaussians
        local = replace(
            local,
            positions=local.positions + much * near * torch.tensor([0.0, 1.0, 0.0]),
            colors=(local.colors + 0.4 * much * near * -1.0).clamp(0, 1),
        )
        with torch.no_grad():
            world = world_from_local(local, avatar.vertices(motion[index]), avatar.binding)
            drawn = render(world, sequence.camera(index))
        straight = drawn.image / drawn.alpha[..., None].clamp_min(1e-3)
        images[name] = (straight.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        mattes[name] = (drawn.alpha.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return Subject(avatar, replace(sequence, motion=motion, frames=MemoryFrames(images, mattes)))


def test_what_an_expression_changes_is_learned(made: Subject) -> None:
    cheeks = moving_cheeks(made)
    config = RefineConfig(iterations=200, light_at=(), correctives=replace(CONFIG, rate=0.02))
    with_them = refine(cheeks.avatar, cheeks.sequence, config)
    without = refine(cheeks.avatar, cheeks.sequence, replace(config, correctives=replace(CONFIG, components=0)))
    assert without.avatar.residual is None and with_them.avatar.residual is not None
    # Measured 0.66: coarse maps follow a cheek of three centimetres only so far.
    assert with_them.report["final_loss"] < 0.8 * without.report["final_loss"]


def test_they_survive_the_file_and_a_second_refinement(made: Subject, tmp_path: Path) -> None:
    config = RefineConfig(iterations=6, correctives=CONFIG)
    plain = refine(made.avatar, made.sequence, config).avatar
    save_avatar(plain, tmp_path / "a.avatar")
    kept = load_avatar(tmp_path / "a.avatar")
    motion = made.sequence.motion[2]
    assert torch.allclose(kept.pose(motion).positions, plain.pose(motion).positions, atol=1e-6)
    assert without_correctives(kept).residual is None
    again = refine(kept, made.sequence, config).avatar
    assert again.residual is not None and plain.residual is not None
    assert again.residual.features.shape == plain.residual.features.shape


def test_a_generators_residual_head_stays(made: Subject) -> None:
    head = random_residual(len(made.avatar))
    refined = refine(
        replace(made.avatar, residual=head), made.sequence, RefineConfig(iterations=4, correctives=CONFIG)
    ).avatar
    assert refined.residual is not None and refined.residual.features.shape[1] > head.features.shape[1]
    left = without_correctives(refined).residual
    assert left is not None
    for name in ("features", "hidden_weight", "film_weight", "film_bias", "weights", "biases"):
        assert torch.equal(getattr(left, name), getattr(head, name)), name


@pytest.mark.parametrize("told", [None, [], {"correctives": "many"}, {"correctives": 99}, {"correctives": -1}])
def test_a_file_that_tells_nonsense_of_them_keeps_its_head(made: Subject, told: object) -> None:
    avatar = replace(made.avatar, residual=random_residual(len(made.avatar)), provenance={"refined": told})
    assert without_correctives(avatar).residual is avatar.residual


def state_of(run: Refinement) -> dict[str, Tensor]:
    assert run.correctives is not None
    return {name: value.clone() for name, value in run.correctives.state().items()}


def test_a_resumed_run_goes_on_with_them(made: Subject, tmp_path: Path) -> None:
    config = RefineConfig(iterations=20, correctives=replace(CONFIG, after=0.25))

    def steps(run: Refinement, count: int) -> Refinement:
        for _ in range(count):
            run.step()
            run.advance_schedule(0.0)
        return run

    whole = steps(Refinement(made.avatar, made.sequence, config), 20)
    save_run(steps(Refinement(made.avatar, made.sequence, config), 10), tmp_path / "state", 1.0)
    second = Refinement(made.avatar, made.sequence, config)
    load_run(second, tmp_path / "state")
    steps(second, 10)
    assert whole.losses == second.losses
    expected, found = state_of(whole), state_of(second)
    assert expected["maps"].abs().max() > 0
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_few_frames_have_few(made: Subject) -> None:
    motion, training = made.sequence.motion, list(range(len(made.sequence)))
    few = learnable(made.avatar, motion, training, replace(CONFIG, frames_each=6))
    assert few is not None and few.config.components == 2
    assert learnable(made.avatar, motion, training, replace(CONFIG, frames_each=13)) is None


def test_photos_have_none() -> None:
    assert suited_to("photos", RefineConfig()).correctives.components == 0
    assert suited_to("video", RefineConfig()).correctives.components > 0
