"""Who counts as seen: what stands where nobody is, however many layers lie before it."""

from dataclasses import replace

import pytest
import torch

from spatialavatar.avatar.binding import local_from_world
from spatialavatar.avatar.surface import surface_graph
from spatialavatar.refine.config import AntiSpike, RefineConfig
from spatialavatar.refine.masks import background_mask
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.unseen import (
    contributions,
    follow_neighbours,
    shown_and_spilt,
    stands_outside,
    weights_by_render,
)
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.cpu import blend_weights
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render
from tests.synthetic import Subject, greyed, subject


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=6, size=64, resolution=32)


def test_standing_outside_against_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    count = 400
    positions = torch.randn(count, 3, generator=generator) * torch.tensor([0.4, 0.4, 0.3])
    world = WorldGaussians(
        positions,
        torch.tensor([1.0, 0, 0, 0]).expand(count, 4),
        torch.full((count, 3), 0.01),
        torch.full((count,), 0.5),
        torch.zeros(count, 3),
    )
    camera = Camera.look_at((0.1, 0.2, 1.0), (0.0, 0.0, 0.0), width=48, height=32, vertical_field_of_view=0.6)
    nobody = torch.rand(32, 48, generator=generator) < 0.5
    found = stands_outside(world, camera, nobody)
    expected = []
    for point in positions:
        x, y, z = (camera.camera_from_world[:3, :3] @ point + camera.camera_from_world[:3, 3]).tolist()
        u = float(camera.intrinsics[0, 0]) * x / z + float(camera.intrinsics[0, 2])
        v = float(camera.intrinsics[1, 1]) * y / z + float(camera.intrinsics[1, 2])
        shown = z > 1e-3 and 0 <= u < 48 and 0 <= v < 32
        column, row = int(u), int(v)
        expected.append(shown and bool(nobody[row, column]))
    assert found.tolist() == expected
    assert 0 < sum(expected) < count


def test_layers_behind_each_other_outside_the_matte_all_move(made: Subject) -> None:
    """Five hundred Gaussians are queued up along one ray of the camera, in a corner where nobody is."""
    avatar, sequence = greyed(made.avatar), made.sequence.select([0])
    motion, camera = sequence.motion[0], sequence.camera(0)
    rotation, shift = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
    queued = torch.arange(len(avatar)) < 500
    assert int(sequence.matte(0)[3, 3]) == 0
    ray = torch.linalg.inv(camera.intrinsics) @ torch.tensor([3.5, 3.5, 1.0])
    depths = torch.linspace(0.9, 1.1, 500)[:, None] * shift[2]
    world = avatar.pose(motion)
    positions = world.positions.clone()
    positions[queued] = (ray * depths - shift) @ rotation
    opacities = torch.where(queued, torch.tensor(0.99), world.opacities)
    moved = replace(world, positions=positions, opacities=opacities)
    local = local_from_world(moved, avatar.vertices(motion), avatar.binding)
    run = Refinement(replace(avatar, gaussians=local), sequence, RefineConfig(iterations=10))
    hidden = contributions(moved, camera) < run.config.least_evidence
    assert int((queued & hidden).sum()) > 400
    run.measure_evidence()
    assert bool((run.moving[queued] == 1).all())
    assert not bool((run.moving[~queued] == 1).all())


def test_without_the_body_s_outline_nothing_below_the_chin_stands_outside(made: Subject) -> None:
    landmarks = torch.full((len(made.sequence), 478, 2), 20.0)
    sequence = replace(made.sequence, landmarks=landmarks)
    run = Refinement(greyed(made.avatar), sequence, RefineConfig(iterations=10, body_outline=False))
    background = background_mask(run.sequence, run.store, run.training[0], body_outline=False)
    assert not bool(background[20:].any()) and bool(background[:20].any())


@pytest.mark.parametrize("covered", [True, False])
def test_what_nobody_sees_cannot_help_a_surface_that_it_shines_through(made: Subject, covered: bool) -> None:
    """Two heads, thin of skin, differ in the colour of what lies hidden in them: training cannot tell them apart."""
    config = RefineConfig(light_at=(), iterations=10, hidden_evidence=0.02 if covered else 0.0)
    losses = []
    for color in (0.0, 1.0):
        avatar = greyed(made.avatar)
        thin = replace(avatar.gaussians, opacity_logits=torch.full_like(avatar.gaussians.opacity_logits, 2.0))
        run = Refinement(replace(avatar, gaussians=thin), made.sequence, config)
        run.measure_evidence()
        hidden = run.weight < 0.02
        assert 30 < int(hidden.sum()) < len(avatar) - 30
        run.parameters["color"].data[hidden] = color
        losses.append([run.step() for _ in range(4)])
    assert (losses[0] == losses[1]) == covered


@pytest.mark.parametrize("keep_guess", [False, True])
def test_what_was_made_up_for_the_back_is_kept_where_it_is_worth_it(made: Subject, keep_guess: bool) -> None:
    """A head with a dark back, whose seen front turns brighter by 0.2: the back follows the front, or brightens too."""
    avatar = greyed(made.avatar)
    back = avatar.layout.surface_points(avatar.head.template, avatar.head.faces)[:, 2] < 0
    start = replace(avatar.gaussians, colors=torch.where(back[:, None], 0.1, avatar.gaussians.colors))
    refined = replace(start, colors=torch.where(back[:, None], start.colors, start.colors + 0.2))
    graph = surface_graph(avatar.head, avatar.layout, avatar.head.template)
    skin = avatar.head.part_of_face[avatar.layout.triangles] == avatar.head.part_names.index("skin")
    filled = follow_neighbours(refined, start, ~back, (~back).float(), graph, keep_guess=keep_guess).colors
    # The floor under a confidence of zero holds islands; on one connected surface it moves nothing that counts.
    expected = 0.3 if keep_guess else 0.7
    torch.testing.assert_close(filled[back & skin].median(), torch.tensor(expected), atol=0.02, rtol=0)
    torch.testing.assert_close(filled[~back], refined.colors[~back])


def test_what_is_shown_and_spilt_against_one_gaussian_drawn_at_a_time(made: Subject) -> None:
    avatar, camera = made.avatar, made.sequence.camera(0)
    world = avatar.pose(made.sequence.motion[0]).detach()
    nobody = torch.rand(64, 64, generator=torch.Generator().manual_seed(3)) < 0.3
    shown, spilt = shown_and_spilt(world, camera, nobody)
    assert torch.equal(shown, contributions(world, camera))
    for index in [*shown.topk(3).indices.tolist(), 0, len(world) // 2]:
        alone = torch.zeros(len(world), 1)
        alone[index] = 1.0
        image = render(replace(world, colors=alone), camera).image[..., 0]
        # Float32 sums over a few hundred pixels.
        assert float(spilt[index]) == pytest.approx(float(image[nobody].sum()), abs=1e-5, rel=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (61, 83)])
def test_weights_in_one_pass_are_those_of_a_render(made: Subject, size: tuple[int, int]) -> None:
    """Saturated pixels, tiles cut off at the border, a Gaussian behind the camera and one that means nothing."""
    world, camera = made.avatar.pose(made.sequence.motion[1]).detach(), made.sequence.camera(1).scaled(size)
    positions, opacities = world.positions.clone(), (2 * world.opacities).clamp(0, 1)
    positions[3], positions[4] = camera.position + torch.tensor([0.0, 0.0, 1.0]), float("nan")
    opacities[::7] = 0.0
    world = replace(world, positions=positions, opacities=opacities)
    nobody = torch.rand(size[::-1], generator=torch.Generator().manual_seed(3)) < 0.3
    for found, expected in zip(
        blend_weights(world, camera, nobody), weights_by_render(world, camera, nobody), strict=True
    ):
        # Float32 sums over up to some hundred pixels, in another order.
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        assert float(expected.max()) > 0.1


def test_a_large_gaussian_that_is_hidden_but_for_its_rim_moves(made: Subject) -> None:
    """One behind the head, wider than it: a haze beside the head, of which the head hides nearly all."""
    avatar, sequence = greyed(made.avatar), made.sequence.select([0])
    motion, camera = sequence.motion[0], sequence.camera(0)
    world = avatar.pose(motion)
    behind = 5
    center = world.positions.median(0).values
    away = torch.nn.functional.normalize(center - camera.position, dim=0)
    positions, scales, opacities = world.positions.clone(), world.scales.clone(), world.opacities.clone()
    positions[behind], scales[behind], opacities[behind] = center + 0.3 * away, 0.15, 0.9
    moved = replace(world, positions=positions, scales=scales, opacities=opacities)
    local = local_from_world(moved, avatar.vertices(motion), avatar.binding)
    config = RefineConfig(iterations=10, anti_spike=AntiSpike(clamp=False), least_evidence=0.6)
    run = Refinement(replace(avatar, gaussians=local), sequence, config)
    assert float(contributions(moved, camera)[behind]) < config.least_evidence
    run.measure_evidence()
    assert float(run.moving[behind]) == 1
