"""The CUDA back end. What needs a GPU is skipped without one."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.splat import cuda
from spatialavatar.splat.render import render
from tests.oracles.splatting import away_from_cutoffs
from tests.splat.scenes import ball, small_camera, smooth_noise, with_gradients

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None, reason="needs an NVIDIA GPU and gsplat"
)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("channels", [3, 7])
def test_agrees_with_the_cpu(channels: int) -> None:
    gaussians, camera = ball(3000, scale=0.006, channels=channels), small_camera(100, 64)
    safe = away_from_cutoffs(gaussians, camera)
    weights = smooth_noise(camera.height, camera.width, channels) * safe[..., None]
    background = torch.linspace(0.1, 0.9, channels)
    images, gradients, covariances = [], [], []
    for device in ("cpu", "cuda"):
        leaves = with_gradients(gaussians.to(device))
        rendering = render(leaves, camera, background.to(device))
        ((rendering.image * weights.to(device)).sum() + rendering.projected.covariances2d.sum()).backward()
        images.append(rendering.image.detach().cpu())
        covariances.append(rendering.projected.covariances2d.detach().cpu())
        gradients.append([leaf.grad.cpu() for leaf in vars(leaves).values()])
    assert (images[0] - images[1])[safe].abs().max() < 1e-4
    torch.testing.assert_close(covariances[0], covariances[1], rtol=1e-4, atol=1e-4)
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        # gsplat sums with atomics in float32, and computes means and conics in float32.
        floor = 1e-1 * expected.square().mean().sqrt()
        error = (found - expected).abs() / expected.abs().clamp_min(floor)
        assert error.quantile(0.999) < 1e-2


def test_without_gsplat_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(UserError, match=r"pip install \"spatialavatar\[cuda\]\""):
        cuda._rasterization()


def test_tensors_on_the_cpu_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs float32 tensors on a CUDA device, got torch\.float32 on cpu"):
        render(ball(3), small_camera(), backend="cuda")
