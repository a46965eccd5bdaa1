"""Views from aside: the camera goes round the head, the start is at home there, and what no frame shows is held."""

import math
from dataclasses import replace

import pytest
import torch

from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.refine.config import RefineConfig, SideViews, Tethers
from spatialavatar.refine.fused_step import FusedStep, fused_of
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.side_views import draw_yaw, head_yaws, orbited, side_loss, unseen_sides
from tests.avatar.test_residual import random_residual
from tests.synthetic import Subject, greyed, painted_avatar, subject


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=6, size=64, resolution=32)


@pytest.mark.parametrize("degrees", [-60.0, 0.0, 20.0, 60.0])
def test_the_camera_goes_round_a_point(degrees: float) -> None:
    """It keeps its distance and its height, sees the point in the same pixel, and stands where a plain turn puts it."""
    avatar = painted_avatar(32)
    camera, centre = avatar.default_camera(64), torch.tensor([0.01, 0.02, -0.03])
    moved = orbited(camera, centre, math.radians(degrees))

    def pixel(view: torch.Tensor) -> torch.Tensor:
        point = view[:3, :3] @ centre + view[:3, 3]
        return (camera.intrinsics @ point) / point[2]

    # 1e-4 of a pixel and of a metre: float32 in a matrix product of numbers up to a thousand.
    torch.testing.assert_close(pixel(moved.camera_from_world), pixel(camera.camera_from_world), atol=1e-4, rtol=1e-4)
    away, before = moved.position - centre, camera.position - centre
    turn = math.radians(degrees)
    expected = torch.stack(
        [
            math.cos(turn) * before[0] + math.sin(turn) * before[2],
            before[1],
            math.cos(turn) * before[2] - math.sin(turn) * before[0],
        ]
    )
    torch.testing.assert_close(away, expected, atol=1e-4, rtol=1e-4)


def test_it_looks_from_where_no_frame_was_taken() -> None:
    generator = torch.Generator().manual_seed(0)
    settings = SideViews(least_degrees=15, most_degrees=60)

    def sides(*degrees: float) -> list[tuple[float, ...]]:
        ranges = unseen_sides(torch.tensor(degrees).deg2rad(), settings)
        return [tuple(round(math.degrees(end), 3) for end in ends) for ends in ranges]

    assert sides(*[0.0] * 40) == [(-60, -15), (15, 60)]
    assert sides(*[-10.0] * 20, *[30.0] * 20) == [(-60, -25), (45, 60)]
    assert sides(*[50.0] * 40) == [(-60, 35)]
    assert sides(*[-50.0] * 20, *[50.0] * 20) == []
    # One frame in forty hardly shows a side.
    assert sides(*[0.0] * 39, 50.0) == [(-60, -15), (15, 60)]
    ranges = unseen_sides(torch.zeros(40), settings)
    drawn = [math.degrees(draw_yaw(ranges, generator)) for _ in range(200)]
    assert all(15 <= abs(yaw) <= 60 for yaw in drawn)
    assert 60 < sum(yaw > 0 for yaw in drawn) < 140


def test_yaw_is_the_heads_and_grows_as_the_camera_goes_round(made: Subject) -> None:
    """The painted head turns its neck by up to half a radian before a camera that stands still."""
    yaws = head_yaws(made.sequence)
    # A head that turns to its left by some angle is seen from as far to its right.
    torch.testing.assert_close(yaws, -made.sequence.motion.neck_rotation[:, 1], atol=1e-5, rtol=0)
    camera = orbited(made.sequence.camera(0), torch.zeros(3), 0.7)
    moved = replace(made.sequence, camera_from_world=camera.camera_from_world.expand(len(yaws), 4, 4))
    torch.testing.assert_close(head_yaws(moved), yaws + 0.7, atol=1e-5, rtol=0)


def lengthened(local: LocalGaussians, by: float) -> LocalGaussians:
    """All Gaussians moved out of the surface, as a camera before them does not see."""
    return replace(local, positions=local.positions + by * torch.tensor([0.0, 1.0, 0.0]))


def test_the_start_is_at_home_and_depth_is_seen(made: Subject) -> None:
    avatar, camera = made.avatar, made.sequence.camera(0)
    start = avatar.gaussians
    vertices = avatar.head.pose(avatar.identity, made.sequence.motion[0])[0]
    aside = orbited(camera, vertices.mean(0), math.radians(45))
    arguments = (vertices, avatar.binding, aside, torch.zeros(3), 4)
    assert float(side_loss(start, start, *arguments)) == 0
    moved = replace(lengthened(start, 0.5), positions=lengthened(start, 0.5).positions.requires_grad_())
    loss = side_loss(moved, start, *arguments)
    loss.backward()
    assert moved.positions.grad is not None and float(moved.positions.grad.abs().sum()) > 0
    # A small step against the gradient nears the start again.
    nearer = replace(moved, positions=(moved.positions - 0.02 * moved.positions.grad.sign()).detach())
    assert float(side_loss(nearer, start, *arguments)) < float(loss.detach())


def test_refinement_stays_nearer_to_the_start_from_aside(made: Subject) -> None:
    """With the frames as they are, and a start that is not what they show."""

    def aside(views: SideViews) -> float:
        config = RefineConfig(iterations=24, tethers=Tethers(0, 0, 0, 0, 0), side_views=views, usual_turn_degrees=None)
        run = Refinement(greyed(made.avatar), made.sequence, config)
        while run.iteration < 24:
            run.step()
            run.advance_schedule(0)
        vertices, camera = run.mesh(0), made.sequence.camera(0)
        view = orbited(camera, vertices.mean(0), math.radians(45))
        with torch.no_grad():
            return float(side_loss(run.local(), run.start, vertices, run.binding, view, torch.zeros(3), 4))

    assert aside(SideViews(every=2, weight=20, most_degrees=75)) < 0.8 * aside(SideViews(every=0))


def kernel_and_run(made: Subject, *, residual: bool) -> tuple[FusedStep, Refinement]:
    """A run whose Gaussians have left their start, and its kernel."""
    avatar = made.avatar
    if residual:
        avatar = replace(avatar, residual=random_residual(len(avatar)))
    run = Refinement(avatar, made.sequence, RefineConfig())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in run.parameters.values():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return fused_of(run), run


@pytest.mark.parametrize(
    ("residual", "size", "coarse"), [(False, (64, 64), 4), (True, (61, 83), 4), (False, (40, 30), 1)]
)
def test_the_kernel_looks_from_aside_as_torch_does(
    made: Subject, residual: bool, size: tuple[int, int], coarse: int
) -> None:
    kernel, run = kernel_and_run(made, residual=residual)
    vertices, background = run.mesh(1), torch.tensor([0.2, 0.5, 0.9])
    camera = orbited(made.sequence.camera(1).scaled(size), vertices.mean(0), math.radians(50))
    local, start = run.local_in(1), run.local_in(1, run.start)
    expected = 3 * side_loss(local, start, vertices, run.binding, camera, background, coarse)
    gradients = torch.autograd.grad(expected, list(run.parameters.values()))
    moving = (torch.rand(len(run.avatar), generator=torch.Generator().manual_seed(2)) < 0.5).float()
    moving[:24] = 0  # some groups in which nothing moves
    corrections = None
    if run.avatar.residual is not None:
        corrections = run.avatar.residual.corrections(run.sequence.motion[1].condition())
    for mask in (None, moving):
        loss, found = kernel.side_view(vertices, camera, background, 3.0, coarse, moving=mask, corrections=corrections)
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
        for name, value, truth in zip(run.parameters, found, gradients, strict=True):
            assert truth.abs().max() > 0
            keep = slice(None) if mask is None else mask > 0
            # As in test_fused_step: sums of float32 in another order.
            assert (value[keep] - truth[keep]).norm() <= 5e-5 * truth[keep].norm(), name
            if mask is not None:
                assert not value[:24].any()


def test_its_gradient_is_that_of_finite_differences(made: Subject) -> None:
    """Along each attribute's gradient; the losses are float32, so their differences are known to a few per cent."""
    kernel, run = kernel_and_run(made, residual=False)
    vertices, background = run.mesh(0), torch.tensor([0.2, 0.5, 0.9])
    camera = orbited(made.sequence.camera(0), vertices.mean(0), math.radians(-40))

    def loss() -> float:
        return kernel.side_view(vertices, camera, background, 1.0, 4)[0]

    loss()
    for value, gradient in zip(run.parameters.values(), [g.clone() for g in kernel.side_gradients], strict=True):
        direction = gradient / gradient.norm()
        with torch.no_grad():
            value.add_(direction, alpha=0.02)
            above = loss()
            value.add_(direction, alpha=-0.04)
            below = loss()
            value.add_(direction, alpha=0.02)
        assert (above - below) / 0.04 == pytest.approx(float(gradient.norm()), rel=0.05)


def test_wrong_arrays_are_refused(made: Subject) -> None:
    kernel, run = kernel_and_run(made, residual=False)
    vertices, camera, background = run.mesh(0), made.sequence.camera(0), torch.zeros(3)
    with pytest.raises(ValueError, match="vertices has"):
        kernel.side_view(vertices[:-1], camera, background, 1.0, 4)
    with pytest.raises(ValueError, match="moving has"):
        kernel.side_view(vertices, camera, background, 1.0, 4, moving=torch.ones(3))
    with pytest.raises(ValueError, match="cells out of range"):
        kernel.side_view(vertices, camera, background, 1.0, 0)
