"""What is drawn, how often, and that it follows from seed, step and item alone."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.train.config import DrawConfig
from spatialavatar.train.difficulty import Looks, dissimilarity, looks_of, source_probabilities
from spatialavatar.train.draws import draw_count, draw_item, make_catalogue
from tests.train.small import MemorySubject, painted, surrounded

MANY = 600
MULTIVIEW = DrawConfig(phase="multiview")


def within(count: int, expected: float, of: int) -> bool:
    """Four standard deviations of a binomial count."""
    return abs(count - expected * of) < 4 * (of * expected * (1 - expected)) ** 0.5


def test_k_is_uniform() -> None:
    counts = Counter(draw_count(DrawConfig(), 0, step) for step in range(2000))
    assert set(counts) == {1, 2, 3, 4}
    assert all(within(count, 0.25, 2000) for count in counts.values())


def test_all_items_of_a_step_have_its_k() -> None:
    catalogue = make_catalogue([painted(0)], DrawConfig())
    for step in range(10):
        sizes = {len(draw_item(catalogue, DrawConfig(), 0, step, 100, item).sources) for item in range(5)}
        assert sizes == {draw_count(DrawConfig(), 0, step)}


def test_draws_follow_from_seed_step_and_item() -> None:
    catalogue = make_catalogue([painted(0), painted(1)], DrawConfig())

    def drawn(seed: int, step: int, item: int) -> object:
        return draw_item(catalogue, DrawConfig(), seed, step, 100, item)

    assert drawn(0, 7, 1) == drawn(0, 7, 1)
    assert len({drawn(0, step, item) for step in range(8) for item in range(8)}) > 40
    assert drawn(0, 7, 1) != drawn(1, 7, 1) or drawn(0, 8, 1) != drawn(1, 8, 1)


@pytest.mark.parametrize("phase", ["monocular", "multiview"])
def test_sources_and_targets_are_all_different(phase: str) -> None:
    config = DrawConfig(phase=phase, targets=2)  # type: ignore[arg-type]
    catalogue = make_catalogue([surrounded()], config)
    for step in range(100):
        draw = draw_item(catalogue, config, 0, step, 100, 0)
        views = [*draw.sources, *draw.targets]
        assert len(set(views)) == len(views) == len(draw.sources) + 2


def test_phase_1_stays_within_one_clip() -> None:
    catalogue = make_catalogue([surrounded()], DrawConfig())
    draws = [draw_item(catalogue, DrawConfig(), 0, step, 100, 0) for step in range(100)]
    assert all(len({view.camera for view in (*d.sources, *d.targets)}) == 1 for d in draws)
    assert len({d.targets[0].camera for d in draws}) == 6


def test_phase_2_crosses_cameras_three_times_in_four() -> None:
    catalogue = make_catalogue([surrounded()], MULTIVIEW)
    draws = [draw_item(catalogue, MULTIVIEW, 0, step, MANY, 0) for step in range(MANY)]
    assert within(sum(d.cross_time for d in draws), 0.25, MANY)
    for draw in draws:
        target = draw.targets[0]
        if draw.cross_time:
            times = [view.frame for view in (*draw.sources, target)]
            assert len(set(times)) == len(times)
            if len(draw.sources) == 1:
                assert draw.sources[0].camera == target.camera
        else:
            cameras = [view.camera for view in (*draw.sources, target)]
            assert len(set(cameras)) == len(cameras)
            assert {view.frame for view in draw.sources} == {target.frame}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_cross_time_is_a_switch(share: float) -> None:
    config = replace(MULTIVIEW, cross_time=share)
    catalogue = make_catalogue([surrounded()], config)
    assert all(draw_item(catalogue, config, 0, step, 50, 0).cross_time == bool(share) for step in range(50))


def test_rehearsal_is_the_share_of_people_before_one_camera() -> None:
    """However few of them there are; and without both kinds of people it asks for nothing."""
    people = [surrounded(), painted(frames=12), MemorySubject("other", painted(seed=1, frames=12).cameras)]
    config = replace(MULTIVIEW, rehearsal=0.65)
    catalogue = make_catalogue(people, config)
    drawn = [draw_item(catalogue, config, 0, step, 1_000, 0) for step in range(1_000)]
    single = [draw for draw in drawn if draw.subject > 0]
    # Three standard deviations of a share of 0.65 in 1,000 draws are 0.045.
    assert abs(len(single) / 1_000 - 0.65) < 0.045
    assert all(draw.cross_time for draw in single)
    assert {draw.subject for draw in single} == {1, 2}
    alone = make_catalogue([surrounded()], config)
    assert {draw_item(alone, config, 0, step, 50, 0).subject for step in range(50)} == {0}


def test_the_first_source_follows_the_softmax() -> None:
    """With one target, how often each frame comes first against its probability."""
    config = DrawConfig(most_sources=1, temperature_start=0.5, temperature_end=0.5)
    catalogue = make_catalogue([painted(0)], config)
    firsts: dict[int, Counter[int]] = {}
    for step in range(2000):
        draw = draw_item(catalogue, config, 0, step, 2000, 0)
        firsts.setdefault(draw.targets[0].frame, Counter())[draw.sources[0].frame] += 1
    looks = looks_of(painted(0).cameras[0])
    target, counts = max(firsts.items(), key=lambda entry: entry[1].total())
    others = [frame for frame in range(8) if frame != target]
    expected = source_probabilities(dissimilarity(looks[others], looks[[target]], config), 0.5)
    for frame, probability in zip(others, expected.tolist(), strict=True):
        assert within(counts[frame], probability, counts.total())


def test_without_difficulty_the_first_source_is_uniform() -> None:
    config = DrawConfig(most_sources=1, difficulty=False)
    catalogue = make_catalogue([painted(0)], config)
    counts: Counter[int] = Counter()
    for step in range(2000):
        draw = draw_item(catalogue, config, 0, step, 2000, 0)
        counts[(draw.sources[0].frame - draw.targets[0].frame) % 8] += 1
    assert all(within(counts[offset], 1 / 7, 2000) for offset in range(1, 8))


def test_dissimilarity_is_angle_plus_expression() -> None:
    half = torch.tensor(0.5).sqrt()
    looks = Looks(torch.tensor([[0.0, 0, 1], [half, 0, half]]), torch.tensor([[0.0, 0], [0.3, 0.4]]))
    config = DrawConfig(camera_weight=2.0, expression_weight=10.0)
    found = dissimilarity(looks, looks[[0]], config)
    expected = torch.tensor([0.0, 2 * torch.pi / 4 + 10 * 0.5])
    # arccos is flat at 1: a rounding error of 1e-7 there is an angle of 4e-4.
    assert torch.allclose(found, expected, atol=1e-3)


def test_turning_the_head_counts_as_moving_the_camera() -> None:
    sequence = painted(0, 8).cameras[0]
    directions = looks_of(sequence).directions
    assert float((directions[0] - directions[2]).norm()) > 0.1  # the camera stands still, the head turns
    assert torch.allclose(directions.norm(dim=1), torch.ones(8))


def test_colder_is_harder() -> None:
    distances = torch.tensor([0.1, 0.5, 1.5])
    hot, cold = source_probabilities(distances, 2.0), source_probabilities(distances, 0.5)
    assert float(cold[2]) > float(hot[2]) > 1 / 3
    assert float(hot.sum()) == pytest.approx(1)


def test_what_cannot_be_drawn_from_is_named() -> None:
    with pytest.raises(UserError, match="no subject"):
        make_catalogue([], DrawConfig())
    short = MemorySubject("shorty", (painted(0).cameras[0].select([0, 1, 2]),))
    with pytest.raises(UserError, match="shorty has 3 usable frames; 4 sources and 1 target"):
        make_catalogue([short], DrawConfig())
    with pytest.raises(UserError, match="Phase 2 needs subjects seen by several cameras"):
        make_catalogue([painted(0)], MULTIVIEW)
    uneven = MemorySubject("uneven", (surrounded().cameras[0], surrounded().cameras[1].select(range(10))))
    with pytest.raises(UserError, match="cameras of uneven have different numbers of frames"):
        make_catalogue([uneven], MULTIVIEW)
    with pytest.raises(UserError, match="must lie within 1 to 4"):
        make_catalogue([painted(0)], DrawConfig(most_sources=5))


def test_frames_without_a_face_are_never_drawn() -> None:
    sequence = painted(0).cameras[0]
    valid = torch.ones(8, dtype=torch.bool)
    valid[[2, 5]] = False
    catalogue = make_catalogue([MemorySubject("gaps", (replace(sequence, valid=valid),))], DrawConfig())
    seen = set()
    for step in range(200):
        draw = draw_item(catalogue, DrawConfig(), 0, step, 200, 0)
        seen |= {view.frame for view in (*draw.sources, *draw.targets)}
    assert seen == {0, 1, 3, 4, 6, 7}
