"""The reference renderer against the definition, and its gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.projection import project
from spatialavatar.splat.render import render
from tests.oracles.splatting import away_from_cutoffs, render_by_loops
from tests.splat.scenes import ball, small_camera


@pytest.mark.parametrize(("opacity", "scale"), [((0.05, 0.95), 0.015), ((0.9, 1.0), 0.05)])
def test_agrees_with_loops_over_pixels(opacity: tuple[float, float], scale: float) -> None:
    gaussians = ball(15, scale=scale, opacity=opacity, channels=2, dtype=torch.float64)
    camera = small_camera(23, 18, torch.float64)
    background = torch.tensor([0.3, 0.8], dtype=torch.float64)
    rendering = render(gaussians, camera, background, backend="reference")
    image, alpha, covariances = render_by_loops(gaussians, camera, background)
    # Both float64: what is left is rounding.
    np.testing.assert_allclose(rendering.image.numpy(), image, atol=1e-12)
    np.testing.assert_allclose(rendering.alpha.numpy(), alpha, atol=1e-12)
    np.testing.assert_allclose(
        rendering.projected.covariances2d.numpy(), covariances[:, [0, 0, 1], [0, 1, 1]], rtol=1e-11, atol=1e-12
    )


def test_gradients_agree_with_finite_differences() -> None:
    gaussians = ball(5, scale=0.03, channels=2, seed=2, dtype=torch.float64)
    camera = small_camera(9, 7, torch.float64)
    background = torch.tensor([0.3, 0.8], dtype=torch.float64)
    # Finite differences mean nothing across a cut-off, and a step of 1e-6 stays well inside the margins left out here.
    weights = away_from_cutoffs(gaussians, camera).double()
    assert weights.mean() > 0.9

    def outputs(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rendering = render(WorldGaussians(*tensors[:5]), camera, tensors[5], backend="reference")
        projected = rendering.projected
        return (
            rendering.image * weights[..., None],
            rendering.alpha * weights,
            projected.means2d,
            projected.covariances2d,
            projected.depths,
        )

    leaves = [tensor.clone().requires_grad_() for tensor in (*vars(gaussians).values(), background)]
    assert torch.autograd.gradcheck(outputs, leaves, eps=1e-6, atol=1e-6, rtol=1e-5)


def test_the_camera_gets_a_gradient() -> None:
    gaussians = ball(5, scale=0.03, dtype=torch.float64)
    camera = small_camera(9, 7, torch.float64)
    shift = torch.zeros(3, dtype=torch.float64)

    def shifted(shift: torch.Tensor) -> torch.Tensor:
        world = torch.eye(4, dtype=torch.float64)
        world = torch.cat([torch.cat([world[:3, :3], shift[:, None]], dim=1), world[3:]])
        moved = type(camera)(world @ camera.camera_from_world, camera.intrinsics, camera.width, camera.height)
        return project(gaussians, moved).means2d

    assert torch.autograd.gradcheck(shifted, [shift.requires_grad_()], eps=1e-6)
