"""What `render` promises whatever draws: symmetries, bad input, empty scenes, processes and threads."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spatialavatar import _native
from spatialavatar.head.rotations import (
    multiply_quaternions_wxyz,
    quaternions_wxyz_from_rotation_matrix,
    rotation_matrix_from_axis_angle,
)
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render
from tests.splat.scenes import ball, small_camera, with_gradients

seeds = st.integers(0, 2**31 - 1)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, count=st.integers(0, 300), width=st.integers(1, 70), height=st.integers(1, 40))
def test_the_order_of_the_gaussians_does_not_matter(seed: int, count: int, width: int, height: int) -> None:
    gaussians, camera = ball(count, scale=0.015, seed=seed), small_camera(width, height)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    first, second = render(gaussians, camera), render(gaussians[order], camera)
    assume(len(first.projected.depths.unique()) == count)  # Gaussians of equal depth are drawn in the order they come
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.projected.covariances2d[order], second.projected.covariances2d)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_moving_the_world_and_the_camera_together_changes_nothing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rotation = rotation_matrix_from_axis_angle(torch.randn(3, generator=generator, dtype=torch.float64))
    translation = torch.randn(3, generator=generator, dtype=torch.float64)
    gaussians, camera = ball(60, seed=seed, dtype=torch.float64), small_camera(dtype=torch.float64)
    turn = quaternions_wxyz_from_rotation_matrix(rotation)
    moved = replace(
        gaussians,
        positions=gaussians.positions @ rotation.T + translation,
        quaternions_wxyz=multiply_quaternions_wxyz(turn, gaussians.quaternions_wxyz),
    )
    # Written out: some versions of torch invert to a last row of 1e-16, which is no camera.
    back = torch.eye(4, dtype=torch.float64)
    back[:3, :3], back[:3, 3] = rotation.T, -rotation.T @ translation
    moved_camera = replace(camera, camera_from_world=camera.camera_from_world @ back)
    first = render(gaussians, camera, backend="reference")
    second = render(moved, moved_camera, backend="reference")
    # float64 rounding; the 1 in 10^10 chance of a value on a cut-off is not worth a margin.
    torch.testing.assert_close(first.image, second.image, rtol=0, atol=1e-9)
    torch.testing.assert_close(first.projected.covariances2d, second.projected.covariances2d, rtol=1e-9, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, factor=st.floats(-2, 2))
def test_the_image_is_linear_in_the_colors(seed: int, factor: float) -> None:
    gaussians, camera = ball(200, seed=seed, scale=0.015), small_camera(40, 30)
    other = ball(200, seed=seed + 1).colors
    mixed = render(replace(gaussians, colors=gaussians.colors + factor * other), camera).image
    separate = render(gaussians, camera).image + factor * render(replace(gaussians, colors=other), camera).image
    torch.testing.assert_close(mixed, separate, rtol=0, atol=1e-5)  # float32 sums of values up to 3


def test_a_single_gaussian_lies_where_its_mean_projects() -> None:
    gaussians = WorldGaussians(
        torch.tensor([[0.01, 0.02, -0.03]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), 0.004),
        torch.tensor([0.9]),
        torch.ones(1, 1),
    )
    camera = Camera.look_at((0, 0, 1), (0, 0, 0), width=64, height=48)
    rendering = render(gaussians, camera)
    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    center = torch.stack([(x * rendering.alpha).sum(), (y * rendering.alpha).sum()]) / rendering.alpha.sum()
    # The sum over pixels is no integral: a pixel of alpha 1/255, 5 px out, is in or out as a whole.
    torch.testing.assert_close(center, rendering.projected.means2d[0], rtol=0, atol=1e-2)
    # x to the right and y up in the world are x to the right and y down in the image.
    assert center[0] > 32 and center[1] < 24
    assert rendering.projected.depths[0] == pytest.approx(1.03)


def test_an_empty_scene_is_background() -> None:
    background = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    rendering = render(with_gradients(ball(0)), small_camera(33, 17), background)
    assert torch.equal(rendering.image, background.expand(17, 33, 3)) and not rendering.alpha.any()
    assert rendering.box == (0, 0, 0, 0) and rendering.projected.radii.shape == (0,)
    rendering.image.sum().backward()
    assert background.grad is not None and torch.equal(background.grad, torch.full((3,), 33.0 * 17.0))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_gaussians_without_meaning_are_skipped(backend: str) -> None:
    good = ball(40, scale=0.02)
    camera = small_camera()
    nan, inf = float("nan"), float("inf")
    bad = ball(12, scale=0.02, seed=1)
    bad.positions[0, 1], bad.positions[1, 0], bad.positions[2] = nan, inf, 3e38
    bad.quaternions_wxyz[3, 2], bad.quaternions_wxyz[4] = nan, 0.0
    bad.scales[5, 0], bad.scales[6, 2] = nan, 3e38
    bad.opacities[7], bad.opacities[8], bad.opacities[9] = nan, -1.0, 0.003
    bad.colors[10, 1] = nan
    bad.positions[11] = camera.position + 0.5 * camera.position  # behind the camera
    pairs = zip(vars(bad).values(), vars(good).values(), strict=True)
    both = with_gradients(WorldGaussians(*(torch.cat(pair) for pair in pairs)))
    rendering = render(both, camera, backend=backend)  # type: ignore[arg-type]
    alone = render(good, camera, backend=backend)  # type: ignore[arg-type]
    assert torch.equal(rendering.image, alone.image) and torch.equal(rendering.alpha, alone.alpha)
    assert not rendering.projected.radii[:12].any()
    assert all(tensor.isfinite().all() for tensor in vars(rendering.projected).values())
    unprojected = [0, 1, 3, 4, 5, 7, 10, 11]
    assert (rendering.projected.covariances2d[unprojected] == torch.tensor([1.0, 0.0, 1.0])).all()

    (rendering.image.sum() + rendering.projected.covariances2d[unprojected].square().sum()).backward()
    for name, leaf in vars(both).items():
        assert leaf.grad.isfinite().all(), name
        assert not leaf.grad[:12].any(), name
        assert leaf.grad[12:].any(), name


def test_gaussians_as_large_as_the_world_are_drawn() -> None:
    gaussians, camera = ball(5, scale=50.0, opacity=(0.1, 0.2)), small_camera(100, 80)
    rendering = render(gaussians, camera)
    reference = render(gaussians.to(dtype=torch.float64), camera, backend="reference")
    assert (rendering.image - reference.image).abs().max() < 1e-4


def test_retained_graphs_and_second_derivatives() -> None:
    leaves = with_gradients(ball(50, scale=0.02))
    rendering = render(leaves, small_camera())
    loss = rendering.image.square().sum()
    first = torch.autograd.grad(loss, leaves.positions, retain_graph=True)[0]
    render(ball(50, seed=3), small_camera())  # another render in between must not disturb what the graph holds
    assert torch.equal(first, torch.autograd.grad(loss, leaves.positions)[0])
    with pytest.raises(RuntimeError):
        (gradient,) = torch.autograd.grad(render(leaves, small_camera()).image.sum(), leaves.scales, create_graph=True)
        gradient.sum().backward()


def test_python_threads_may_render_at_once() -> None:
    scenes = [ball(800, scale=0.01, seed=seed) for seed in range(4)]
    camera = small_camera()
    expected = [render(scene, camera).image for scene in scenes]
    failures: list[int] = []

    def work(index: int) -> None:
        for _ in range(10):
            if not torch.equal(render(scenes[index], camera).image, expected[index]):
                failures.append(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_renders() -> None:
    gaussians, camera = ball(5000, scale=0.005), small_camera(160, 120)
    before = _native.threads()
    _native.set_threads(3)
    try:
        expected = render(gaussians, camera).image  # the parent's pool has its threads now
        child = os.fork()
        if child == 0:
            # By numpy: torch's own threads do not survive a fork.
            same = np.array_equal(render(gaussians, camera).image.numpy(), expected.numpy())
            same = same and _native.threads() == 3
            os._exit(0 if same else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert torch.equal(render(gaussians, camera).image, expected)
    finally:
        _native.set_threads(before)


def test_bad_input_is_named() -> None:
    gaussians, camera = ball(4), small_camera()
    with pytest.raises(ValueError, match=r"scales must have shape \(4, 3\), got \(3, 3\)"):
        replace(gaussians, scales=gaussians.scales[:3])
    with pytest.raises(ValueError, match=r"colors must have shape \(4, C >= 1\), got \(4,\)"):
        replace(gaussians, colors=gaussians.colors[:, 0])
    with pytest.raises(ValueError, match="one dtype and one device"):
        replace(gaussians, colors=gaussians.colors.double())
    with pytest.raises(ValueError, match=r"background must have shape \(3,\), got \(4,\)"):
        render(gaussians, camera, torch.zeros(4))
    with pytest.raises(ValueError, match=r"background is torch.float64"):
        render(gaussians, camera, torch.zeros(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="backend must be"):
        render(gaussians, camera, backend="gpu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"needs float32 tensors on the CPU, got torch\.float64"):
        render(gaussians.to(dtype=torch.float64), camera)
    with pytest.raises(ValueError, match="16385 x 2; the limit is 16384"):
        render(gaussians, replace(camera, width=16385, height=2))


def test_bad_cameras_are_named() -> None:
    gaussians, camera = ball(4), small_camera()
    broken = camera.camera_from_world.clone()
    broken[0, 3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        render(gaussians, replace(camera, camera_from_world=broken))
    with pytest.raises(ValueError, match="must be a rotation"):
        render(gaussians, replace(camera, camera_from_world=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))))
    with pytest.raises(ValueError, match="must be a rotation"):
        render(gaussians, replace(camera, camera_from_world=torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0]))))
    skewed = camera.intrinsics.clone()
    skewed[0, 1] = 0.1
    with pytest.raises(ValueError, match=r"must be \[\[fx, 0, cx\]"):
        render(gaussians, replace(camera, intrinsics=skewed))
    with pytest.raises(ValueError, match=r"camera_from_world must have shape \(4, 4\), got \(3, 4\)"):
        replace(camera, camera_from_world=torch.eye(4)[:3])
    with pytest.raises(ValueError, match="at least 1, got 0 x 5"):
        replace(camera, width=0, height=5)


def test_tensors_need_not_be_contiguous() -> None:
    gaussians, camera = ball(50, scale=0.02), small_camera()
    strided = WorldGaussians(*(torch.stack([t, t], dim=-1)[..., 0] for t in vars(gaussians).values()))
    assert not strided.positions.is_contiguous()
    assert torch.equal(render(strided, camera).image, render(gaussians, camera).image)
