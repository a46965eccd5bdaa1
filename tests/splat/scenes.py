"""Small scenes for the tests of the renderers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians


def small_camera(width: int = 70, height: int = 45, dtype: torch.dtype = torch.float32) -> Camera:
    """One metre before the scenes below, a little from the side, not centred, with unequal focal lengths."""
    camera = Camera.look_at((0.25, 0.1, 1.0), (0.0, 0.0, 0.0), width=width, height=height, dtype=torch.float64)
    focal = 4.0 * height
    intrinsics = torch.tensor(
        [[focal, 0, width / 2 + 0.7], [0, 1.02 * focal, height / 2 - 0.4], [0, 0, 1]], dtype=torch.float64
    )
    return Camera(camera.camera_from_world.to(dtype), intrinsics.to(dtype), width, height)


def ball(
    count: int,
    *,
    scale: float = 0.01,
    opacity: tuple[float, float] = (0.05, 0.95),
    channels: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> WorldGaussians:
    """Gaussians of many shapes in a ball of radius 0.1 m; ``scale`` in metres is their median size."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    directions = torch.nn.functional.normalize(normal(count, 3), dim=-1)
    low, high = opacity
    gaussians = WorldGaussians(
        positions=0.1 * directions * uniform(count, 1) ** (1 / 3),
        quaternions_wxyz=normal(count, 4),
        scales=scale * torch.exp(0.6 * normal(count, 3)),
        opacities=low + (high - low) * uniform(count),
        colors=uniform(count, channels),
    )
    # Rounded to float32 first, so that the same scene in float64 has exactly the same values.
    return gaussians.to(dtype=torch.float32).to(dtype=dtype)


def with_gradients(gaussians: WorldGaussians, dtype: torch.dtype | None = None) -> WorldGaussians:
    """The same values as leaves of a new autograd graph."""
    copies = (tensor.detach().to(dtype or tensor.dtype).clone() for tensor in vars(gaussians).values())
    return WorldGaussians(*(copy.requires_grad_() for copy in copies))


def smooth_noise(height: int, width: int, channels: int, seed: int = 0) -> Tensor:
    """(H, W, C) noise that varies over some pixels, like the gradient of an image loss."""
    noise = torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))
    return 10 * torch.nn.functional.avg_pool2d(noise, 9, stride=1, padding=4).permute(1, 2, 0)


HEAD_ASPECTS = (0.075, 0.1, 0.09)


def head_like(count: int, seed: int = 0) -> WorldGaussians:
    """Flat, stretched Gaussians on an ellipsoid of a head's size, most of them opaque: what refinement ends with."""
    generator = torch.Generator().manual_seed(seed)
    height = 1 - 2 * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    turn = torch.arange(count, dtype=torch.float64) * math.pi * (3 - math.sqrt(5))
    ring = (1 - height**2).sqrt()
    sphere = torch.stack([ring * turn.cos(), height, ring * turn.sin()], dim=-1)
    positions = sphere * torch.tensor(HEAD_ASPECTS, dtype=torch.float64)
    spacing = math.sqrt(0.097 / count)
    stretch = torch.exp(0.5 * torch.randn(count, 3, generator=generator, dtype=torch.float64))
    # The shortest arc from z to the direction of the Gaussian: it lies flat on the surface, roughly.
    x, y, z = torch.nn.functional.normalize(sphere, dim=-1).unbind(-1)
    quaternions = torch.stack([1 + z, -y, x, torch.zeros_like(z)], dim=-1) + 1e-6
    return WorldGaussians(
        positions=positions,
        quaternions_wxyz=quaternions,
        scales=spacing * stretch * torch.tensor([0.5, 0.5, 0.15], dtype=torch.float64),
        opacities=torch.sigmoid(1.5 + 1.5 * torch.randn(count, generator=generator, dtype=torch.float64)),
        colors=(0.5 + 0.4 * torch.sin(40 * positions + torch.arange(3))),
    ).to(dtype=torch.float32)
