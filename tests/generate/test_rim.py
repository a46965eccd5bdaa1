"""Where pictures are not believed: against plain loops, and on a head before a wall."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.generate.base_colors import candidate_colors
from spatialavatar.generate.checkpoint import save_generator
from spatialavatar.generate.config import same_network
from spatialavatar.generate.inputs import prepare_sources
from spatialavatar.generate.prior import surface_prior
from spatialavatar.generate.rim import STEP, away_from_steps, within_matte
from spatialavatar.train.engine import start_weights
from tests.generate.small import SMALL, layout, person, small_generator
from tests.train.small import SMALL_TRAINING


def test_a_matte_is_believed_more_from_its_outline_inwards() -> None:
    matte = torch.zeros(12, 12)
    matte[1:11, 1:11] = 1
    shrunk = within_matte(matte, 3)
    assert shrunk[6, :7].tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1, 1])
    assert torch.equal(within_matte(matte, 0), within_matte(matte, 1))


def test_points_beside_a_step_are_not_believed() -> None:
    """A wall with a box before it: near the box's outline neither is believed, as plain loops say."""
    depth, alpha = torch.full((10, 16), 1.0), torch.ones(10, 16)
    depth[:, 8:] = 0.9
    depth[:, 14:], alpha[:, 14:] = 5.0, 0.0  # nothing is drawn there: no step
    columns = torch.arange(16)
    pixels = torch.stack([columns + 0.5, torch.full((16,), 5.5)], 1)
    points = torch.where(columns < 8, 1.0, 0.9)
    found = away_from_steps(depth, alpha, points, pixels, 2)
    for column in range(14):
        near = [float(depth[5, c]) for c in range(max(0, column - 2), min(13, column + 2) + 1)]
        step = max(abs(value - float(points[column])) for value in near)
        expected = 1 - min(max((step - STEP[0]) / (STEP[1] - STEP[0]), 0), 1)
        assert float(found[column]) == pytest.approx(expected, abs=1e-5)
    assert found[:6].eq(1).all() and found[6:10].eq(0).all() and found[10:14].eq(1).all()
    assert away_from_steps(depth, torch.zeros(10, 16), points, pixels, 2).eq(1).all()


def test_a_rim_only_takes_away() -> None:
    made = person()
    without, with_rim = (
        prepare_sources([(made.sequence, 2)], made.avatar.head, layout(), 96, rim=rim).visibility
        for rim in (0.0, 0.012)
    )
    assert (with_rim <= without + 1e-6).all()
    assert 0.5 * float(without.sum()) < float(with_rim.sum()) < 0.98 * float(without.sum())


def test_what_no_source_shows_is_no_candidate() -> None:
    """A green wall is sampled wherever the head is not seen: masked, it is nowhere among the candidates."""
    head = person().avatar.head
    prior = surface_prior(head, layout(), 24)
    points = layout().surface_points(head.template, head.faces)
    seen = points[:, 2] > 0.02
    skin, wall = torch.tensor([0.8, 0.6, 0.5]), torch.tensor([0.0, 1.0, 0.0])
    colors = torch.where(seen[:, None], skin, wall).T[None, None]
    arguments = (colors, seen.float()[None, None], prior, prior.canvas.cells, prior.canvas.share)
    loose, masked = (
        candidate_colors(*arguments),
        candidate_colors(*arguments, shown=torch.where(seen, 1.0, 0.0)[None, None]),
    )

    def greenness(value: torch.Tensor) -> float:
        return float((value[..., 1] - value[..., 0]).max())

    assert greenness(loose.colors) > 0.9 and greenness(masked.colors) < 0
    assert torch.equal(loose.colors[0, seen, 0], masked.colors[0, seen, 0])
    assert torch.equal(loose.colors[:, :, 2], masked.colors[:, :, 2])
    assert torch.equal(loose.log_weights, masked.log_weights)


def test_a_bright_slope_of_the_face_is_not_believed_unless_the_other_side_has_it() -> None:
    """White past the jaw, as of a collar, and white temples: plain cases of `_like_the_face`."""
    head = person().avatar.head
    prior = surface_prior(head, layout(), 24)
    points = layout().surface_points(head.template, head.faces)
    band, above = prior.face
    right = points[:, 0] > 0
    skin, white = torch.tensor([0.5, 0.4, 0.35]), torch.ones(3)
    slope = points[:, 0].abs() > 0.045
    jaw = (band > 0.9) & (above < 0.1) & slope
    temple = (band > 0.9) & (above > 0.9) & slope & (points[:, 2] > 0)
    assert jaw.sum() > 5 and temple.sum() > 5

    def seen(chosen: torch.Tensor, facing: float, color: torch.Tensor = white) -> torch.Tensor:
        """(N,) how well the source is held to show each pixel, of 1, when those `chosen` have that colour."""
        colors = torch.where(chosen[:, None], color, skin).T[None, None]
        shown = torch.ones(1, 1, len(points))
        visibility = torch.where(slope, facing, 1.0)[None, None]
        found = candidate_colors(colors, visibility, prior, prior.canvas.cells, prior.canvas.share, shown)
        return found.seen[0]

    # At a slope of 0.4 plain skin is wholly seen: 0.4 cubed is more than ENOUGH.
    assert seen(jaw & False, 0.4)[jaw].eq(1).all()
    one_side = jaw & right
    assert seen(one_side, 0.3)[one_side].max() < 0.05 and seen(one_side, 0.3)[jaw & ~right].min() > 0.5
    assert seen(jaw, 0.3)[jaw].max() < 0.05
    assert seen(one_side, 0.7)[one_side].eq(1).all()
    assert seen(one_side, 0.4, torch.zeros(3))[one_side].eq(1).all()
    assert seen(temple, 0.4)[temple].median() == 1
    assert seen(temple & right, 0.3)[temple & right].median() < 0.1


def test_training_goes_on_with_another_rim_but_not_with_another_network(tmp_path: Path) -> None:
    older = replace(SMALL, rim=0.0, masked=False, shoulders=False)
    newer = replace(SMALL, rim=0.004, masked=True, shoulders=True)
    assert same_network(older, newer) and not same_network(replace(older, head_width=9), newer)
    path = save_generator(small_generator(older), tmp_path / "older.safetensors")
    head = person().avatar.head
    assert start_weights(path, replace(SMALL_TRAINING, generator=newer), head, layout())
    wider = replace(SMALL_TRAINING, generator=replace(newer, head_width=9))
    with pytest.raises(UserError, match="another configuration"):
        start_weights(path, wider, head, layout())
