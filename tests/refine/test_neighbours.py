"""Where neighbours have gone, against plain loops; and that a surface tied to its neighbours does not tear."""

import math
from dataclasses import replace

import pytest
import torch

from spatialavatar.avatar.binding import triangle_frames
from spatialavatar.refine.config import RefineConfig, Tethers
from spatialavatar.refine.neighbours import narrowness, neighbours_moved
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.torch_step import pull_tethers
from tests.synthetic import Subject, greyed, subject

SHARE = 30e-6 / 31e-6


@pytest.fixture(scope="module")
def run() -> Refinement:
    made: Subject = subject()
    return Refinement(greyed(made.avatar), made.sequence, RefineConfig(iterations=30, usual_turn_degrees=None))


def test_neighbours_moved_as_plain_loops_have_it(run: Refinement) -> None:
    count = len(run.avatar)
    moved = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    found = neighbours_moved(moved, run.surface)
    frames = triangle_frames(run.identity.shaped_template.double(), run.avatar.head.faces)
    triangles = run.avatar.layout.triangles
    for i in range(0, count, 97):
        near = run.graph.columns[run.graph.rows == i]
        assert len(near) >= 1
        total = torch.zeros(3, dtype=torch.float64)
        for j in near.tolist():
            total += frames.scales[triangles[j]] * (frames.rotations[triangles[j]] @ moved[j].double())
        own = frames.rotations[triangles[i]].T @ (total / len(near)) / frames.scales[triangles[i]]
        # Single precision, of sums of six numbers in triangles of sizes that differ by up to ten.
        torch.testing.assert_close(found[i].double(), own, rtol=1e-4, atol=1e-4)


def test_what_moves_as_a_whole_is_not_held(run: Refinement) -> None:
    surface = run.surface
    shift = torch.tensor([0.002, -0.001, 0.003])
    together = (surface.rotations.mT @ shift) / surface.scales
    torch.testing.assert_close(neighbours_moved(together, surface), together, rtol=1e-4, atol=1e-5)
    broken = together.clone()
    broken[3] = math.nan
    assert neighbours_moved(broken, surface).isfinite().all()


def test_the_anchor_is_between_the_start_and_the_neighbours(run: Refinement) -> None:
    with torch.no_grad():
        run.parameters["position"].copy_(run.start.positions)
        run.parameters["position"][5] += 1.0
        run.set_anchors()
        assert run.neighbour_share > 0
        moved = neighbours_moved(run.parameters["position"] - run.start.positions, run.surface)
    near = torch.from_numpy(run.graph.columns[run.graph.rows == 5])
    assert bool((moved[near].norm(dim=1) > 0).all()) and float(moved[5].norm()) == 0
    torch.testing.assert_close(run.anchors, run.start.positions + SHARE * moved)
    for value in run.parameters.values():
        value.grad = torch.zeros_like(value)
    tethers = replace(run.config.tethers, position=run.anchor_weight)
    pull_tethers(run.parameters, run.start, run.anchors, tethers)
    # The sum of both pulls: towards the start, and towards the neighbours.
    gone = run.parameters["position"].detach() - run.start.positions
    expected = 1e-6 * gone + 3e-5 * (gone - moved)
    gradient = run.parameters["position"].grad
    assert gradient is not None
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-10)
    with torch.no_grad():
        run.parameters["position"].copy_(run.start.positions)


def test_tied_to_their_neighbours_gaussians_part_less() -> None:
    made = subject()

    def apart(weight: float) -> float:
        tethers = Tethers(0, 0, 0, 0, weight)
        config = RefineConfig(iterations=60, tethers=tethers, usual_turn_degrees=None)
        run = Refinement(greyed(made.avatar), made.sequence, config)
        while run.iteration < 60:
            run.step()
            run.advance_schedule(0)
        with torch.no_grad():
            gone = run.parameters["position"] - run.start.positions
            return float((gone - neighbours_moved(gone, run.surface)).square().mean())

    assert apart(1e-2) < 0.8 * apart(0.0)


def test_narrowness() -> None:
    still, turning = torch.zeros(10), torch.deg2rad(torch.tensor([-15.0, 15.0] * 10))
    assert narrowness(still, 5.0) == 1 and narrowness(turning, None) == 1
    assert narrowness(turning, 15.0) == pytest.approx(0.5) and narrowness(turning, 5.0) == pytest.approx(0.1)


def test_unseen_sides_are_held_more_than_neighbours_where_a_head_turns() -> None:
    """A head that turns far shows depth, but not what lies beyond its turns."""
    made = subject()
    config = RefineConfig(iterations=30, usual_turn_degrees=4.0)
    run = Refinement(greyed(made.avatar), made.sequence, config)
    turns = float(run.yaws[run.training].std(correction=0))
    narrow = 1 / (1 + (turns / math.radians(4)) ** 2)
    assert narrow < 0.3
    assert run.anchor_weight == pytest.approx(config.tethers.position + narrow * config.tethers.neighbours)
    assert run.side_weight == pytest.approx(math.sqrt(narrow) * config.side_views.weight)
