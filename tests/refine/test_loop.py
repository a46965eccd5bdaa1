"""Stage 2 on a subject with known truth: it learns, keeps its layout, resumes exactly, and holds the unseen still."""

import json
import signal
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.errors import UserError
from spatialavatar.interrupts import Stopped
from spatialavatar.refine import loop, refinement
from spatialavatar.refine.anti_spike import world_aspects
from spatialavatar.refine.checkpoint import read_checkpoint, write_checkpoint
from spatialavatar.refine.checkpoint_header import iteration_of
from spatialavatar.refine.config import AntiSpike, Correctives, RefineConfig, Tethers
from spatialavatar.refine.held_out import score
from spatialavatar.refine.loop import refine
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.run_state import ATTRIBUTES, attributes_of, save_run
from spatialavatar.refine.torch_step import pull_tethers
from tests.avatar.test_residual import random_residual
from tests.synthetic import Subject, greyed, subject

SHORT = RefineConfig(iterations=120, anti_spike=AntiSpike(freeze_iterations=40, aspect_after=40))


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject()


def test_refinement_learns_colours_and_keeps_the_layout(made: Subject) -> None:
    start = greyed(made.avatar)
    frames = list(range(len(made.sequence)))
    before = score(start, made.sequence, frames)
    result = refine(start, made.sequence, SHORT)
    after = score(result.avatar, made.sequence, frames)
    assert after.psnr > before.psnr + 8, (before, after)
    assert result.avatar.layout.layout_id == start.layout.layout_id and len(result.avatar) == len(start)
    assert result.report["gaussians"] == len(start) and result.report["iterations"] == 120
    assert all(bool(value.isfinite().all()) for value in attributes_of(result.avatar.gaussians))


def test_log_scales_are_frozen_first_and_clamped_after(made: Subject) -> None:
    run = Refinement(greyed(made.avatar), made.sequence, SHORT)
    before = run.parameters["log_scale"].detach().clone()
    while run.iteration < 40:
        run.step()
    torch.testing.assert_close(run.parameters["log_scale"].detach(), before, atol=1e-6, rtol=0)
    for _ in range(20):
        run.step()
    assert not torch.equal(run.parameters["log_scale"].detach(), before)
    # e^3 plus float32 rounding of the clamp.
    assert float(world_aspects(run.parameters["log_scale"].detach()).max()) <= 20.1 + 0.1


def test_the_largest_aspect_on_the_way_is_reported(made: Subject) -> None:
    """Without the freeze, and L_aspect only later, needles come and go; a spread of 3 is an aspect of 20.1."""
    spikes = AntiSpike(freeze_iterations=0, aspect_after=200, aspect_weight=20.0)
    free = RefineConfig(iterations=300, anti_spike=spikes)
    report = refine(greyed(made.avatar), made.sequence, free).report
    frozen = replace(free, anti_spike=replace(spikes, freeze_iterations=200))
    other = refine(greyed(made.avatar), made.sequence, frozen).report
    assert report["max_aspect_on_the_way"] > 1.3 * report["max_aspect"]
    assert other["max_aspect_on_the_way"] < 0.8 * report["max_aspect_on_the_way"]


BRIEF = RefineConfig(iterations=60, anti_spike=AntiSpike(freeze_iterations=20, aspect_after=20))


@pytest.fixture(scope="module")
def little() -> Subject:
    """Where nothing counts but equality, fewer and smaller frames and fewer Gaussians do."""
    return subject(frames=4, size=48, resolution=24)


def same(left: Avatar, right: Avatar) -> bool:
    """To the last bit."""
    return all(
        torch.equal(a, b) for a, b in zip(attributes_of(left.gaussians), attributes_of(right.gaussians), strict=True)
    )


@pytest.fixture(scope="module")
def whole(little: Subject) -> Avatar:
    """What comes of a run that nobody stops."""
    return refine(greyed(little.avatar), little.sequence, BRIEF).avatar


# What is entered when the signal comes, and for which time: steps, the first and the last among them, what they do, the
# schedule, and what saves.
_RUN = "spatialavatar.refine.refinement.Refinement"
MOMENTS = [
    (f"{_RUN}.step", 1, signal.SIGINT),
    (f"{_RUN}.step", 60, signal.SIGTERM),
    (f"{_RUN}.next_frame", 33, signal.SIGINT),
    (f"{_RUN}.measure_evidence", 2, signal.SIGTERM),
    ("spatialavatar.refine.refinement.work_by_kernel", 41, signal.SIGINT),
    (f"{_RUN}.advance_schedule", 40, signal.SIGINT),
    ("spatialavatar.refine.run_state.write_checkpoint", 1, signal.SIGTERM),
]


@pytest.mark.parametrize(("entered", "times", "number"), MOMENTS, ids=lambda value: str(value).rsplit(".", 1)[-1])
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(
    little: Subject,
    whole: Avatar,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entered: str,
    times: int,
    number: int,
) -> None:
    """A real signal, whose handler runs wherever the program is; the step under way ends first."""
    checkpoint, start, count = tmp_path / "run.safetensors", greyed(little.avatar), 0
    place, name = entered.rsplit(".", 1)
    owner = refinement.Refinement if place.endswith("Refinement") else import_module(place)
    original = getattr(owner, name)

    def signalling(*arguments: object, **more: object) -> object:
        nonlocal count
        count += 1
        if count == times:
            signal.raise_signal(number)
        return original(*arguments, **more)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line has it
    try:
        monkeypatch.setattr(owner, name, signalling)
        with pytest.raises(Stopped):
            refine(start, little.sequence, replace(BRIEF, checkpoint_every=30), checkpoint=checkpoint)
    finally:
        signal.signal(signal.SIGTERM, before)
    monkeypatch.undo()
    assert count >= times
    resumed = refine(start, little.sequence, BRIEF, checkpoint=checkpoint, resume=True)
    assert same(resumed.avatar, whole) and resumed.report["iterations"] == 60
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_second_signal_tears_the_step_and_the_checkpoint_before_it_stands(
    little: Subject, whole: Avatar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, start = tmp_path / "run.safetensors", greyed(little.avatar)
    find_light, steps = Refinement.find_light, 0

    def in_the_middle(run: Refinement) -> None:
        nonlocal steps
        steps += 1
        find_light(run)
        if steps == 33:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Refinement, "find_light", in_the_middle)
    with pytest.raises(KeyboardInterrupt) as raised:
        refine(start, little.sequence, replace(BRIEF, checkpoint_every=15), checkpoint=checkpoint)
    assert not isinstance(raised.value, Stopped) and iteration_of(checkpoint) == 30
    monkeypatch.undo()
    assert same(refine(start, little.sequence, BRIEF, checkpoint=checkpoint, resume=True).avatar, whole)


def test_after_the_last_iteration_the_checkpoint_stays_until_its_avatar_is_safe(
    little: Subject, whole: Avatar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the last iteration changes the state: it must not be what the checkpoint holds."""
    checkpoint, start = tmp_path / "run.safetensors", greyed(little.avatar)
    result = Refinement.result

    def stopped(run: Refinement) -> None:
        result(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(Refinement, "result", stopped)
    with pytest.raises(KeyboardInterrupt):
        refine(start, little.sequence, BRIEF, checkpoint=checkpoint)
    monkeypatch.undo()
    assert iteration_of(checkpoint) == 60
    monkeypatch.setattr(Refinement, "step", lambda run: pytest.fail("all iterations were done"))
    resumed = refine(start, little.sequence, BRIEF, checkpoint=checkpoint, resume=True)
    assert same(resumed.avatar, whole) and checkpoint.exists(), "it is the caller's to remove"


def test_an_error_of_progress_between_two_steps_keeps_the_state(little: Subject, whole: Avatar, tmp_path: Path) -> None:
    checkpoint, start = tmp_path / "run.safetensors", greyed(little.avatar)

    def stop(state: loop.IterationState) -> None:
        if state.iteration == 33:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(start, little.sequence, BRIEF, checkpoint=checkpoint, progress=stop)
    assert iteration_of(checkpoint) == 33
    assert same(refine(start, little.sequence, BRIEF, checkpoint=checkpoint, resume=True).avatar, whole)


def test_a_checkpoint_of_another_run_is_refused(little: Subject, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.safetensors"
    start = greyed(little.avatar)
    run = Refinement(start, little.sequence, BRIEF)
    run.step()
    save_run(run, checkpoint, 1.0)
    again = {"checkpoint": checkpoint, "resume": True}
    with pytest.raises(UserError, match="another run: config"):
        refine(start, little.sequence, replace(BRIEF, seed=5), **again)
    with pytest.raises(UserError, match=r"another run: it began with another avatar \(its color differs\)"):
        refine(little.avatar, little.sequence, BRIEF, **again)
    moved = replace(little.sequence.motion, translation=little.sequence.motion.translation + 1e-4)
    with pytest.raises(UserError, match="another run: tracking"):
        refine(start, replace(little.sequence, motion=moved), BRIEF, **again)
    tensors, header = read_checkpoint(checkpoint, {})
    write_checkpoint(checkpoint, {k: v for k, v in tensors.items() if k != "anchors"}, header)
    with pytest.raises(UserError, match=r"damaged .the key 'anchors' is missing"):
        refine(start, little.sequence, BRIEF, **again)
    write_checkpoint(checkpoint, {**tensors, "value.color": torch.zeros(2, 3)}, header)
    with pytest.raises(UserError, match="this checkpoint is damaged"):
        refine(start, little.sequence, BRIEF, **again)
    write_checkpoint(checkpoint, tensors, {k: v for k, v in header.items() if k != "seconds"})
    with pytest.raises(UserError, match=r"damaged .the key 'seconds' is missing"):
        refine(start, little.sequence, BRIEF, **again)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(UserError, match="cut short"):
        refine(start, little.sequence, BRIEF, **again)


def test_more_minutes_extend_a_run_that_was_over_by_its_minutes(little: Subject, tmp_path: Path) -> None:
    checkpoint, start = tmp_path / "run.safetensors", greyed(little.avatar)
    short = replace(BRIEF, iterations=12, minutes=1e-6)
    assert refine(start, little.sequence, short, checkpoint=checkpoint).report["iterations"] == 1
    over = refine(start, little.sequence, short, checkpoint=checkpoint, resume=True)
    assert over.report["iterations"] == 1, "it was over"
    longer = refine(start, little.sequence, replace(short, minutes=60.0), checkpoint=checkpoint, resume=True)
    assert longer.report["iterations"] == 12


def test_what_no_frame_shows_takes_no_gradient(made: Subject) -> None:
    frontal = made.sequence.select([0])
    run = Refinement(greyed(made.avatar), frontal, SHORT)
    for _ in range(5):
        run.step()
    hidden = run.moving == 0
    assert hidden.float().mean() > 0.3, "the back of the head is hidden in a frontal picture"
    for name, start in zip(ATTRIBUTES, attributes_of(run.start), strict=True):
        value = run.parameters[name].detach()
        # 1e-6: the clamp subtracts and adds a mean.
        torch.testing.assert_close(value[hidden], start[hidden], atol=1e-6, rtol=0)


def test_unseen_gaussians_take_their_neighbours_colour(made: Subject) -> None:
    result = refine(greyed(made.avatar), made.sequence.select([0]), SHORT)
    colors = result.avatar.gaussians.colors
    # Grey at the start, and no gradient: only the continuation over the surface can have moved them.
    run = Refinement(greyed(made.avatar), made.sequence.select([0]), SHORT)
    run.measure_evidence()
    assert (colors[run.moving == 0] - 0.5).abs().mean() > 0.02


def test_sequence_of_another_head_is_refused(made: Subject) -> None:
    with pytest.raises(UserError, match="tracked with the head other"):
        refine(made.avatar, replace(made.sequence, head_edition="other"), SHORT)


def test_plateau_ends_the_run_early(made: Subject) -> None:
    config = RefineConfig(iterations=10_000, until_plateau=True, anti_spike=AntiSpike(0, aspect_after=0))
    run = Refinement(made.avatar, made.sequence, config)
    run.losses = [1.0] * 1500
    run.iteration = 1500
    assert not run.advance_schedule(0.0)
    assert run.cool_down is not None
    run.iteration = 2000
    assert run.advance_schedule(0.0)


def test_minutes_bound_the_cosine(made: Subject) -> None:
    run = Refinement(made.avatar, made.sequence, RefineConfig(minutes=1.0))
    run.iteration = 10
    assert not run.advance_schedule(30.0)
    assert run.fraction == pytest.approx(0.5)
    assert run.advance_schedule(60.0)


def test_frames_without_a_face_are_left_out(made: Subject) -> None:
    valid = torch.ones(len(made.sequence), dtype=torch.bool)
    valid[[1, 4]] = False
    run = Refinement(made.avatar, replace(made.sequence, valid=valid), SHORT)
    assert run.training == [0, 2, 3, *range(5, len(made.sequence))]
    with pytest.raises(UserError, match="no training frame shows a face"):
        Refinement(made.avatar, replace(made.sequence, valid=torch.zeros_like(valid)), SHORT)


def test_a_generated_avatar_keeps_its_residual_head_and_is_refined_beneath_it(made: Subject) -> None:
    """Refinement draws what `Avatar.pose` poses: the residual head is added in training as in scoring."""
    avatar = greyed(made.avatar)
    with_head = replace(avatar, residual=random_residual(len(avatar)))
    run = Refinement(with_head, made.sequence, RefineConfig(iterations=30, random_background=False))
    frame = run.training[1]
    with torch.no_grad():
        clamped = replace(with_head, gaussians=run.local().detach())
        posed = clamped.local(made.sequence.motion[frame])
    for found, expected in zip(attributes_of(run.local_in(frame)), attributes_of(posed), strict=True):
        torch.testing.assert_close(found.detach(), expected)
    result = refine(with_head, made.sequence, RefineConfig(iterations=30, correctives=Correctives(components=0)))
    assert result.avatar.residual is with_head.residual
    assert result.report["final_loss"] < run.step()


def test_tethers_pull_where_the_pictures_say_nothing(made: Subject) -> None:
    """On Gaussians that one step leaves without a gradient, all that moves them is the tether."""
    config = replace(SHORT, hold_unseen=False, tethers=Tethers(position=1e-3, log_scale=2e-3, opacity=3e-3, color=4e-3))
    run = Refinement(greyed(made.avatar), made.sequence, config)
    with torch.no_grad():
        run.parameters["position"] += 0.25
        run.parameters["log_scale"] -= 0.5
        run.parameters["color"] += 0.1
    for value in run.parameters.values():
        value.grad = torch.zeros_like(value)
    pull_tethers(run.parameters, run.start, run.anchors, run.config.tethers)
    # Products of a float32 difference: one rounding of the parameter, relative to its size.
    expected = {"position": 0.25e-3, "log_scale": -1e-3, "opacity": -3e-3, "color": 0.4e-3, "rotation": 0.0}
    for name, value in run.parameters.items():
        assert value.grad is not None
        torch.testing.assert_close(value.grad, torch.full_like(value, expected[name]), atol=1e-8, rtol=1e-4)


def test_evidence_is_measured_sooner_in_short_runs_and_at_full_size(made: Subject) -> None:
    def due(iterations: int) -> list[int]:
        run = Refinement(made.avatar, made.sequence, RefineConfig(iterations=iterations, half_size_until=0.9))
        found = []
        while run.iteration < iterations:
            if run.evidence_is_due():
                found.append(run.iteration)
            run.iteration += 1
        return found

    assert due(1200) == [0, 100, 250, 500, 1000]
    assert due(60) == [0, 10, 25]
    run = Refinement(made.avatar, made.sequence, RefineConfig(iterations=60, half_size_until=0.9))
    run.set_size()
    assert run.store is not run.whole[1]
    run.measure_evidence()
    assert run.store is run.whole[1]


def test_corrections_of_a_few_frames_are_kept(made: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    avatar = replace(made.avatar, residual=random_residual(len(made.avatar)))
    monkeypatch.setattr(refinement, "MOST_CORRECTIONS", 1)
    run = Refinement(avatar, made.sequence, SHORT)
    first, second = run.corrections(0), run.corrections(1)
    assert run.corrections(0) is first and run.corrections(1) is not second
    assert first is not None and not torch.equal(first["color"], (second or {})["color"])
    assert Refinement(made.avatar, made.sequence, SHORT).corrections(0) is None


@pytest.mark.parametrize("key", ["losses", "order", "weight", "value.position", "start.color", "moving", "anchors"])
def test_a_checkpoint_without_a_key_says_which(made: Subject, tmp_path: Path, key: str) -> None:
    checkpoint = tmp_path / "run.safetensors"
    start = greyed(made.avatar)
    run = Refinement(start, made.sequence, BRIEF)
    run.step()
    save_run(run, checkpoint, 1.0)
    with safe_open(str(checkpoint), framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())
    one = tensors.pop(key)
    save_file(tensors, checkpoint, metadata)
    with pytest.raises(UserError, match=f"the key '{key}' is missing"):
        refine(start, made.sequence, BRIEF, checkpoint=checkpoint, resume=True)
    if key in ("losses", "order"):
        return
    # One row would be stretched over all by torch, silently.
    for changed in (one[:1], one.double(), one * torch.nan):
        save_file({**tensors, key: changed.contiguous()}, checkpoint, metadata)
        with pytest.raises(UserError, match=f"this checkpoint is damaged .'{key}' is"):
            refine(start, made.sequence, BRIEF, checkpoint=checkpoint, resume=True)


@pytest.mark.parametrize(
    "changes", [{"lights": None}, {"iteration": None}, {"cool_down": 3}, {"seconds": "x"}, {"seconds": [1]}]
)
def test_a_checkpoint_with_a_header_that_makes_no_sense(made: Subject, tmp_path: Path, changes: dict) -> None:
    checkpoint = tmp_path / "run.safetensors"
    start = greyed(made.avatar)
    run = Refinement(start, made.sequence, BRIEF)
    run.step()
    save_run(run, checkpoint, 1.0)
    with safe_open(str(checkpoint), framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())
    header = json.loads(metadata["header"]) | changes
    metadata["header"] = json.dumps({name: value for name, value in header.items() if value is not None})
    save_file(tensors, checkpoint, metadata)
    with pytest.raises(UserError, match="this checkpoint"):
        refine(start, made.sequence, BRIEF, checkpoint=checkpoint, resume=True)
    metadata["header"] = "[]"
    save_file(tensors, checkpoint, metadata)
    with pytest.raises(UserError, match="header of this file is missing or damaged"):
        refine(start, made.sequence, BRIEF, checkpoint=checkpoint, resume=True)
