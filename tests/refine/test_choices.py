"""Which frame a refinement starts from, and which frames it never sees."""

from dataclasses import replace

import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.refine.config import RefineConfig, default_iterations, suited_to
from spatialavatar.refine.hold_out import split_frames
from spatialavatar.refine.reference_frame import reference_frame

NAMES = ("browInnerUp", "jawOpen")


def motion_with_jaw(jaw_open: list[float], jaw_rotation: list[float] | None = None) -> Motion:
    motion = Motion.neutral(len(jaw_open), 2)
    motion.expression[:, 1] = torch.tensor(jaw_open)
    if jaw_rotation is not None:
        motion.jaw_rotation[:, 0] = torch.tensor(jaw_rotation)
    return motion


def test_reference_is_the_quietest_jaw_and_the_earliest_on_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    assert reference_frame(motion_with_jaw([0.4, 0.1, 0.3, 0.1]), NAMES, generator) == 1
    assert reference_frame(motion_with_jaw([0.0] * 3, [0.2, -0.05, 0.3]), NAMES, generator) == 1


def test_reference_without_jaw_signal_is_random_among_the_lowest_tenth() -> None:
    jaw = [1e-4] * 5 + [0.5] * 45
    chosen = {reference_frame(motion_with_jaw(jaw), NAMES, torch.Generator().manual_seed(seed)) for seed in range(40)}
    assert chosen <= {0, 1, 2, 3, 4} and len(chosen) > 1


@pytest.mark.parametrize(("count", "held"), [(1050, 350), (1049, 209), (400, 80)])
def test_tail(count: int, held: int) -> None:
    training, out = split_frames(count, "tail")
    assert out == list(range(count - held, count)) and training == list(range(count - held))


def test_blocks_are_the_last_ten_of_every_fifty() -> None:
    training, out = split_frames(120, "blocks")
    assert out == [*range(40, 50), *range(90, 100)]
    assert sorted(training + out) == list(range(120))


def test_none_holds_nothing_out_and_short_videos_cannot() -> None:
    assert split_frames(3, "none") == ([0, 1, 2], [])
    with pytest.raises(UserError, match="at least 50"):
        split_frames(20, "blocks")


def test_short_runs_and_photos_get_what_suits_them() -> None:
    assert suited_to("video", RefineConfig()).anti_spike.freeze_iterations == 500
    spike = suited_to("video", RefineConfig(iterations=1000)).anti_spike
    assert spike.freeze_iterations == spike.aspect_after == 200
    assert suited_to("video", RefineConfig()).learning_rates == RefineConfig().learning_rates
    short = suited_to("video", RefineConfig(iterations=5000)).learning_rates
    assert short.position == 1.25 * RefineConfig().learning_rates.position
    assert short.color == RefineConfig().learning_rates.color
    quick = suited_to("video", RefineConfig(iterations=5000), quick=True).learning_rates
    assert quick.position == 2 * RefineConfig().learning_rates.position
    assert quick.color == 3 * RefineConfig().learning_rates.color
    photos = suited_to("photos", RefineConfig(iterations=default_iterations("photos")))
    assert photos.anti_spike.freeze_iterations == photos.anti_spike.aspect_after == 300 and not photos.body_outline
    assert photos.anti_spike.minimum_scale > RefineConfig().anti_spike.minimum_scale
    assert photos.least_evidence > RefineConfig().least_evidence and photos.hidden_evidence == 0
    assert photos.side_views.every < RefineConfig().side_views.every
    never = RefineConfig(side_views=replace(RefineConfig().side_views, every=0))
    assert suited_to("photos", never).side_views.every == 0
    hasty = suited_to("photos", RefineConfig(iterations=60)).side_views
    assert hasty.every == RefineConfig().side_views.every and hasty.coarse > photos.side_views.coarse
    assert photos.tethers.neighbours == 0 and photos.usual_turn_degrees is None
    assert default_iterations("video") == 10_000 > default_iterations("video", quick=True)
    assert default_iterations("video", quick=True) > default_iterations("video", fast=True)
    assert default_iterations("photos", quick=True) == default_iterations("photos")
    fast = suited_to("photos", RefineConfig(iterations=100)).learning_rates
    assert fast.position == 3 * photos.learning_rates.position == 1.5 * RefineConfig().learning_rates.position
    assert fast.color == 3 * photos.learning_rates.color and fast.opacity == 3 * photos.learning_rates.opacity
