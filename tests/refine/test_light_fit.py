"""The light of a video: found where it is known, left alone where nothing tells of it, and kept by runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatialavatar.avatar.light import SHADES
from spatialavatar.refine.config import RefineConfig, suited_to
from spatialavatar.refine.light_fit import solve_light, view_of
from spatialavatar.refine.loop import refine
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.run_state import load_run, save_run
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from spatialavatar.splat.render import render
from tests.synthetic import Subject, subject

LIGHT = torch.tensor([0.1, 0.2, 0.05, 0.0, -0.06, 0.0, 0.08, 0.05])


def lit(made: Subject, light: torch.Tensor | None, still: bool = False) -> Subject:
    """The subject nodding and turning under a light, drawn anew."""
    sequence = made.sequence
    time = torch.linspace(0, 2 * torch.pi, len(sequence))
    neck = torch.stack([0.4 * torch.sin(time), 0.5 * torch.cos(time), 0 * time], 1) * (0.0 if still else 1.0)
    motion = replace(sequence.motion, neck_rotation=neck)
    if still:
        motion = replace(motion, expression=torch.zeros_like(motion.expression))
    avatar = replace(made.avatar, light=light)
    images, mattes = {}, {}
    for index, name in enumerate(sequence.names):
        with torch.no_grad():
            drawn = render(avatar.pose(motion[index]), sequence.camera(index))
        straight = drawn.image / drawn.alpha[..., None].clamp_min(1e-3)
        images[name] = (straight.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        mattes[name] = (drawn.alpha.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    found: TrackedSequence = replace(sequence, motion=motion, frames=MemoryFrames(images, mattes))
    return Subject(replace(avatar, light=None), found)


@pytest.fixture(scope="module")
def made() -> Subject:
    return lit(subject(frames=12, size=96, resolution=48), LIGHT)


def found_in(made: Subject) -> torch.Tensor:
    run = Refinement(made.avatar, made.sequence, RefineConfig())
    return solve_light(view_of(run, frame) for frame in run.training)


def test_a_known_light_is_found(made: Subject) -> None:
    """From pictures in bytes. What eight numbers do in the poses shown is told, not each number: two of them look
    much alike on a head, and what is held to none is drawn to it."""
    light = found_in(made)
    true, seen = replace(made.avatar, light=LIGHT), replace(made.avatar, light=light)
    for frame in range(len(made.sequence)):
        vertices = true.vertices(made.sequence.motion[frame])
        expected, factors = true.brightness(vertices), seen.brightness(vertices)
        assert expected is not None and factors is not None
        off = (factors - expected).abs().mean()
        assert float(off) < 0.25 * float((expected - 1).abs().mean()) + 1e-3


def test_frames_without_light_and_heads_that_do_not_move_tell_none(made: Subject) -> None:
    assert found_in(lit(made, None)).abs().max() < 0.01
    assert found_in(lit(made, LIGHT, still=True)).abs().max() < 0.03


def test_refinement_finds_it_and_gains(made: Subject) -> None:
    """Colours begin grey; with the light the same steps end nearer to the frames."""
    config = RefineConfig(iterations=120, hold_unseen=False)
    with_light = refine(made.avatar, made.sequence, config)
    without = refine(made.avatar, made.sequence, replace(config, light_at=()))
    assert with_light.avatar.light is not None and with_light.avatar.light.shape == (SHADES,)
    assert without.avatar.light is None
    assert with_light.report["final_loss"] < 0.7 * without.report["final_loss"]


def test_the_torch_path_takes_the_same_step(made: Subject) -> None:
    """Kernel and torch add the same corrections: the same losses, to float32's sums in another order."""
    losses = []
    for by_kernel in (True, False):
        run = Refinement(replace(made.avatar, light=LIGHT), made.sequence, RefineConfig(iterations=40, light_at=()))
        run.by_kernel = by_kernel
        losses.append([run.step() for _ in range(6)])
    assert losses[0] == pytest.approx(losses[1], rel=2e-4)


def test_a_resumed_run_keeps_its_light(made: Subject, tmp_path: Path) -> None:
    config = RefineConfig(iterations=40, light_at=(0.0, 0.25, 0.75))
    whole = Refinement(made.avatar, made.sequence, config)
    for _ in range(40):
        whole.step()
        whole.advance_schedule(0.0)
    first = Refinement(made.avatar, made.sequence, config)
    for _ in range(20):
        first.step()
        first.advance_schedule(0.0)
    save_run(first, tmp_path / "state", 1.0)
    second = Refinement(made.avatar, made.sequence, config)
    load_run(second, tmp_path / "state")
    assert first.light is not None and second.light is not None and torch.equal(first.light, second.light)
    for _ in range(20):
        second.step()
        second.advance_schedule(0.0)
    assert whole.light is not None and second.light is not None and torch.equal(whole.light, second.light)
    assert whole.losses == second.losses


def test_photos_tell_no_light_and_keep_what_there_is(made: Subject) -> None:
    assert suited_to("photos", RefineConfig()).light_at == () and suited_to("video", RefineConfig()).light_at != ()
    config = RefineConfig(iterations=4, light_at=())
    kept = refine(replace(made.avatar, light=LIGHT), made.sequence, config).avatar.light
    assert kept is not None and torch.equal(kept, LIGHT)
