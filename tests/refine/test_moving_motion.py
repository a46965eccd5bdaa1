"""Motion that is refined with the Gaussians finds back what a tracking got wrong, and says which figure is which."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import world_from_local
from spatialavatar.refine import loop
from spatialavatar.refine.config import AntiSpike, RefineConfig
from spatialavatar.refine.held_out import score
from spatialavatar.refine.loop import refine
from spatialavatar.refine.moving_motion import UNITS, MovingMotion, fit_frames
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.render import render
from tests.synthetic import Subject, greyed, subject

MOVING = RefineConfig(
    iterations=90,
    anti_spike=AntiSpike(freeze_iterations=20, aspect_after=20),
    refine_motion=True,
    motion_after=20,
    motion_rate=0.05,
)


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=8)


def mistracked(sequence: TrackedSequence) -> TrackedSequence:
    """Every frame's head and body a few millimetres off, each in its own direction."""
    shift = torch.randn(len(sequence), 3, generator=torch.Generator().manual_seed(1)) * 0.004
    shift[:, 2] = 0
    return replace(sequence, motion=replace(sequence.motion, translation=sequence.motion.translation + shift))


def mesh_error(avatar: Avatar, sequence: TrackedSequence, truth: TrackedSequence) -> float:
    """Mean distance of the mesh in the images' plane, metres."""
    with torch.no_grad():
        found = avatar.head.pose(avatar.identity, sequence.motion)
        return float((found - avatar.head.pose(avatar.identity, truth.motion))[..., :2].norm(dim=-1).mean())


def test_no_correction_is_the_tracking(made: Subject) -> None:
    moving = MovingMotion(made.avatar.head, made.avatar.identity, made.sequence)
    for frame in (0, 3):
        expected = made.avatar.head.pose(made.avatar.identity, made.sequence.motion[frame])[0]
        # Micrometres: the motion is taken apart and put together again in float32.
        torch.testing.assert_close(moving.vertices(frame).detach(), expected, atol=5e-6, rtol=0)


def test_a_longer_lens_draws_what_a_camera_with_that_lens_does(made: Subject) -> None:
    moving = MovingMotion(made.avatar.head, made.avatar.identity, made.sequence)
    moving.frames.values["log_focal"][2] = 3.0
    with torch.no_grad():
        wide = world_from_local(made.avatar.gaussians, moving.vertices(2), made.avatar.binding)
        image = render(wide, made.sequence.camera(2)).image
        longer = moving.corrected_sequence()
        assert float(longer.intrinsics[2, 0, 0] / made.sequence.intrinsics[2, 0, 0]) == pytest.approx(
            2.718281828 ** (3 * UNITS["log_focal"]), rel=1e-5
        )
        expected = render(made.avatar.pose(longer.motion[2]), longer.camera(2)).image
    # A triangle's scale is one number, so a scene widened in two of three directions has splats a little too small.
    assert float((image - expected).abs().mean()) < 2e-3
    assert (
        float((image - render(made.avatar.pose(longer.motion[2]), made.sequence.camera(2)).image).abs().mean()) > 6e-3
    )


def test_frames_are_fitted_to_a_frozen_avatar(made: Subject) -> None:
    off = mistracked(made.sequence)
    fitted = fit_frames(made.avatar, off, [1, 4])
    before, after = score(made.avatar, off, [1, 4]), score(made.avatar, fitted, [1, 4])
    assert after.psnr > before.psnr + 5, (before, after)
    assert torch.equal(fitted.motion[0].expression, off.motion[0].expression)
    some, truth = fitted.select([1, 4]), made.sequence.select([1, 4])
    assert mesh_error(made.avatar, some, truth) < 0.4 * mesh_error(made.avatar, off.select([1, 4]), truth)


def test_motion_that_moves_makes_up_for_a_bad_tracking(made: Subject) -> None:
    off = mistracked(made.sequence)
    config = replace(MOVING, iterations=300)
    moved = refine(greyed(made.avatar), off, config)
    fixed = refine(greyed(made.avatar), off, replace(config, refine_motion=False))
    assert torch.equal(fixed.sequence.motion.translation, off.motion.translation)
    assert moved.report["final_loss"] < 0.9 * fixed.report["final_loss"]
    # The mesh of all frames together may stand anywhere; what counts is that the frames agree with each other.
    assert mesh_error(made.avatar, moved.sequence, made.sequence) < 0.8 * mesh_error(made.avatar, off, made.sequence)


def test_resume_with_moving_motion_goes_on_to_the_same_numbers(made: Subject, tmp_path: Path) -> None:
    start, off = greyed(made.avatar), mistracked(made.sequence)
    whole = refine(start, off, MOVING)
    checkpoint = tmp_path / "run.safetensors"

    def stop(state: loop.IterationState) -> None:
        if state.iteration == 51:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(start, off, MOVING, checkpoint=checkpoint, progress=stop)
    resumed = refine(start, off, MOVING, checkpoint=checkpoint, resume=True)
    assert torch.equal(whole.avatar.gaussians.colors, resumed.avatar.gaussians.colors)
    assert torch.equal(whole.sequence.motion.translation, resumed.sequence.motion.translation)


def test_both_figures_of_held_out_frames_are_given() -> None:
    made = subject(frames=50, size=48, resolution=24)
    result = refine(greyed(made.avatar), mistracked(made.sequence), replace(MOVING, hold_out="blocks"))
    tracked, fitted = result.report["held_out"]["blocks"], result.report["held_out_fitted"]["blocks"]
    assert tracked["frames"] == fitted["frames"] == 10
    assert fitted["psnr"] > tracked["psnr"]
    assert result.held_out_fitted is not None and result.held_out_fitted.psnr == fitted["psnr"]
