"""What is random in a run is drawn from a stream for each purpose, so that ablations are paired."""

from dataclasses import replace

import torch

from spatialavatar.refine.config import RefineConfig, SideViews
from spatialavatar.refine.refinement import Refinement
from tests.synthetic import greyed, subject

STEPS = 9


def drawn_by(config: RefineConfig) -> tuple[list[int], list[list[float]]]:
    """The frames and the backgrounds of the first steps of a run."""
    person = subject(frames=6, size=32, resolution=16)
    run = Refinement(greyed(person.avatar), person.sequence, config)
    frames: list[int] = []
    backgrounds: list[list[float]] = []
    next_frame, next_background = run.next_frame, run.next_background

    def frame() -> int:
        frames.append(next_frame())
        return frames[-1]

    def background() -> torch.Tensor:
        color = next_background()
        backgrounds.append(color.tolist())
        return color

    run.next_frame, run.next_background = frame, background  # type: ignore[method-assign]
    for _ in range(STEPS):
        run.step()
    return frames, backgrounds


def test_a_rule_that_is_switched_off_changes_neither_frame_order_nor_backgrounds() -> None:
    config = RefineConfig(iterations=100, side_views=SideViews(every=2), light_at=())
    with_sides = drawn_by(config)
    assert with_sides == drawn_by(replace(config, side_views=SideViews(every=0)))
    assert len({tuple(color) for color in with_sides[1]}) == STEPS
    plain = drawn_by(replace(config, random_background=False))
    assert plain[0] == with_sides[0]


def test_another_seed_draws_other_numbers() -> None:
    config = RefineConfig(iterations=100, light_at=())
    first, second = drawn_by(config), drawn_by(replace(config, seed=1))
    assert first[0] != second[0]
    assert first[1] != second[1]
