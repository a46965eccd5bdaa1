"""The compiled step against the same step in torch, and against itself: threads, resuming, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from spatialavatar import _native
from spatialavatar.refine.config import AntiSpike, Correctives, RefineConfig, Tethers
from spatialavatar.refine.fused_step import work_by_kernel
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.torch_step import work_by_torch
from tests.avatar.test_residual import random_residual
from tests.synthetic import Subject, greyed, subject

GRADIENT_TOLERANCE = 5e-5
"""Relative, of an attribute's moments as a whole: sums of float32 in another order; measured 1e-5."""
STEP_TOLERANCE = 1e-3
"""Relative, of an attribute's step as a whole: Adam divides by the gradient's own size, so a Gaussian whose gradient is
the difference of two large numbers steps as far as any other; measured 7e-5."""

SPIKE = AntiSpike(freeze_iterations=1, aspect_after=1, aspect_threshold=0.3, own_aspect_threshold=0.5)
"""Low thresholds, so that the aspect losses have something to do."""
CONFIG = RefineConfig(iterations=100, anti_spike=SPIKE)
CASES: dict[str, RefineConfig] = {
    "plain": CONFIG,
    "residual head": CONFIG,
    "all move": replace(CONFIG, hold_unseen=False),
    "no clamp, no aspects": replace(CONFIG, anti_spike=replace(SPIKE, clamp=False, aspect_weight=0.0)),
    "tight clamp": replace(CONFIG, anti_spike=replace(SPIKE, spread=0.5, freeze_iterations=0)),
    "tethers": replace(CONFIG, tethers=Tethers(1e-4, 1e-4, 1e-4, 1e-4, 1e-3)),
    "photos": replace(CONFIG, body_outline=False, hidden_evidence=0.0, random_background=False),
    "motion": replace(CONFIG, refine_motion=True, motion_after=1),
    "filmed in part": CONFIG,
    "correctives": replace(CONFIG, correctives=Correctives(components=3, frames_each=2, resolution=16, after=0.0)),
}


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject()


def run_of(made: Subject, case: str, *, by_kernel: bool = True) -> Refinement:
    avatar = greyed(made.avatar)
    if case == "residual head":
        avatar = replace(avatar, residual=random_residual(len(avatar)))
    landmarks = torch.full((len(made.sequence), 478, 2), 60.0)  # photos leave out what lies below the chin
    sequence = replace(made.sequence, landmarks=landmarks)
    if case == "filmed in part":
        # The source's picture ends inside the subject, on three sides.
        box = torch.tensor([0.3 * sequence.width, -5.0, 0.6 * sequence.width, 0.8 * sequence.height])
        sequence = replace(sequence, source_boxes=box.expand(len(sequence), 4))
    run = Refinement(avatar, sequence, CASES[case])
    run.by_kernel = by_kernel
    return run


def state_of(run: Refinement) -> dict[str, Tensor]:
    """Parameters and moments; the tensors themselves."""
    values = {name: value.detach() for name, value in run.parameters.items()}
    for name, value in run.parameters.items():
        values[f"first.{name}"] = run.optimiser.state[value]["exp_avg"]
        values[f"second.{name}"] = run.optimiser.state[value]["exp_avg_sq"]
    if run.correctives is not None:
        moments = run.correctives.state()
        values |= {
            f"correctives.{name}": moments[name] for name in ("first_moment", "second_moment") if name in moments
        }
    if run.motion is not None:
        values |= {f"motion.{name}": value for name, value in run.motion.frames.state().items()}
    return values


@pytest.mark.parametrize("case", CASES)
def test_the_kernel_takes_the_steps_that_torch_takes(made: Subject, case: str) -> None:
    kernel, plain = run_of(made, case), run_of(made, case, by_kernel=False)
    before = {name: value.detach().clone() for name, value in plain.parameters.items()}
    for _ in range(3):
        assert kernel.step() == pytest.approx(plain.step(), rel=1e-5)
        found, expected = state_of(kernel), state_of(plain)
        for name, truth in expected.items():
            difference = (found[name] - truth).double().norm()
            if name in before:  # a clamp's bound is a rounding of numbers of about 5
                walked = (truth - before[name]).double().norm()
                assert difference <= STEP_TOLERANCE * walked + 1e-6 * truth.double().norm(), name
            else:
                assert difference <= GRADIENT_TOLERANCE * truth.double().norm(), name
            # Every step begins where torch's step begins.
            found[name].copy_(truth)
        before = {name: value.clone() for name, value in expected.items() if name in before}


def test_gradients_of_other_losses_are_added(made: Subject) -> None:
    kernel, plain = run_of(made, "plain"), run_of(made, "plain", by_kernel=False)
    for run in (kernel, plain):
        run.measure_evidence()
    frame, background = kernel.training[2], torch.full((3,), 0.4)
    vertices, generator = kernel.mesh(frame), torch.Generator().manual_seed(0)
    extra = [1e-3 * torch.randn(value.shape, generator=generator) for value in kernel.parameters.values()]
    arguments = (frame, vertices, background, 0.5, [*extra[:3], None, extra[4]])
    assert work_by_kernel(kernel, *arguments) == pytest.approx(work_by_torch(plain, *arguments), rel=1e-5)
    found, expected = state_of(kernel), state_of(plain)
    for name, truth in expected.items():
        if name.startswith("first."):
            assert truth.abs().max() > 1e-5 or name == "first.opacity"
            assert (found[name] - truth).norm() <= GRADIENT_TOLERANCE * truth.norm(), name


@pytest.mark.parametrize("case", ["plain", "residual head", "motion", "correctives"])
def test_results_do_not_depend_on_the_number_of_threads(made: Subject, case: str) -> None:
    threads, results = _native.threads(), []
    try:
        for count in (1, 2, 5):
            _native.set_threads(count)
            run = run_of(made, case)
            losses = [run.step() for _ in range(4)]
            results.append((losses, state_of(run)))
    finally:
        _native.set_threads(threads)
    for losses, state in results[1:]:
        assert losses == results[0][0]
        assert all(torch.equal(state[name], value) for name, value in results[0][1].items())


def test_values_without_meaning_stay_apart(made: Subject) -> None:
    run = run_of(made, "all move")
    nan = float("nan")
    with torch.no_grad():
        run.parameters["position"][0, 1] = nan
        run.parameters["log_scale"][1, 0] = nan
        run.parameters["opacity"][2] = nan
        run.parameters["color"][3, 2] = nan
        run.parameters["rotation"][4] = 0.0
    assert all(np.isfinite(run.step()) for _ in range(4))
    for name, value in run.parameters.items():
        assert value[5:].isfinite().all(), name


def test_wrong_arrays_are_refused(made: Subject) -> None:
    run = run_of(made, "plain")
    run.step()
    assert run.fused is not None
    frame = run.training[0]
    stored, camera, vertices = run.store.frames[frame], run.sequence.camera(frame), run.mesh(frame)
    rates, background = [0.0] * 5, torch.zeros(3)
    with pytest.raises(ValueError, match="vertices has"):
        run.fused(frame, stored, camera, vertices[:-1], background, rates, 0.0)
    with pytest.raises(ValueError, match="matte has"):
        run.fused(frame, replace(stored, matte=stored.matte[:-1]), camera, vertices, background, rates, 0.0)
    with pytest.raises(ValueError, match="box does not lie in the image"):
        run.fused(frame, replace(stored, box=(0, 97, 0, 96)), camera, vertices, background, rates, 0.0)
    with pytest.raises(ValueError, match="weight has"):
        run.fused(frame, stored, camera, vertices, background, rates, 0.0, weight=torch.zeros(3))
