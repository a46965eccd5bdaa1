"""Frames at half their size: means of pixels as they stand over a background, cameras to match, and one way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatialavatar.refine import loop
from spatialavatar.refine.config import RefineConfig, suited_to
from spatialavatar.refine.frame_store import StoredFrame, load_frames
from spatialavatar.refine.half_size import HalvedFrames, can_be_halved, halved_frame, halved_sequence, halved_store
from spatialavatar.refine.loop import refine
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.run_state import attributes_of
from tests.synthetic import Subject, greyed, subject

HALF = RefineConfig(iterations=20, half_size_until=0.5)


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=4, size=64, resolution=32)


def test_targets_at_half_size_are_means_of_targets(made: Subject) -> None:
    store, background = load_frames(made.sequence, [0, 1]), torch.tensor([0.9, 0.1, 0.4])
    halved = halved_store(store)
    assert (halved.width, halved.height) == (32, 32)
    for frame in (0, 1):
        target = store.target(frame, background)
        means = target.unflatten(0, (32, 2)).unflatten(2, (32, 2)).mean((1, 3))
        # Colour and matte are each rounded to a byte.
        torch.testing.assert_close(halved.target(frame, background), means, atol=2 / 255, rtol=0)


def test_a_box_that_begins_and_ends_amid_a_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 5, 4), generator=generator).to(torch.uint8)
    matte = torch.randint(0, 256, (5, 4), generator=generator).to(torch.uint8)
    halved = halved_frame(StoredFrame(image, matte, (3, 7, 4, 9)))
    assert halved.box == (1, 4, 2, 5) and halved.image.shape == (3, 3, 3) and halved.matte.shape == (3, 3)
    assert int(halved.matte[0, 0]) == round(float(matte[:2, 0].float().sum()) / 4)
    assert int(halved.matte[2, 1]) == round(float(matte[4, 1:3].float().sum()) / 4)


def test_cameras_show_the_same(made: Subject) -> None:
    halved = halved_sequence(made.sequence)
    camera, half = made.sequence.camera(1), halved.camera(1)
    point = torch.tensor([0.02, 0.05, 0.03])
    pixels = []
    for view in (camera, half):
        seen = view.intrinsics @ (view.camera_from_world[:3, :3] @ point + view.camera_from_world[:3, 3])
        pixels.append(seen[:2] / seen[2])
    torch.testing.assert_close(pixels[1], pixels[0] / 2)
    assert not can_be_halved(replace(halved, width=31))


def test_frames_are_kept_as_far_as_memory_goes(made: Subject) -> None:
    frames = load_frames(made.sequence, [0, 1]).frames
    halved = HalvedFrames(frames, limit=halved_frame(frames[0]).nbytes)
    assert halved[0] is halved[0] and halved[1] is not halved[1]
    assert halved.nbytes == halved[0].nbytes and list(halved) == [0, 1] and len(halved) == 2


def test_the_first_steps_are_at_half_size_and_the_last_at_full(made: Subject) -> None:
    run = Refinement(greyed(made.avatar), made.sequence, HALF)
    widths = []
    over = False
    while not over:
        run.step()
        widths.append(run.sequence.width)
        over = run.advance_schedule(0)
    assert widths == [32] * 10 + [64] * 10
    run.result()
    assert run.store is run.whole[1]


def test_resume_in_either_half_goes_on_to_the_same_numbers(made: Subject, tmp_path: Path) -> None:
    start, checkpoint = greyed(made.avatar), tmp_path / "run.safetensors"
    whole = refine(start, made.sequence, HALF)
    for last in (6, 13):

        def stop(state: loop.IterationState, last: int = last) -> None:
            if state.iteration == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            refine(start, made.sequence, HALF, checkpoint=checkpoint, progress=stop)
        resumed = refine(start, made.sequence, HALF, checkpoint=checkpoint, resume=True)
        for left, right in zip(
            attributes_of(whole.avatar.gaussians), attributes_of(resumed.avatar.gaussians), strict=True
        ):
            assert torch.equal(left, right)


def test_only_quick_runs_on_videos_begin_so() -> None:
    assert suited_to("video", RefineConfig(iterations=5000), quick=True).half_size_until == 0.5
    assert suited_to("video", RefineConfig()).half_size_until == 0
    assert suited_to("photos", RefineConfig(iterations=600), quick=True).half_size_until == 0
