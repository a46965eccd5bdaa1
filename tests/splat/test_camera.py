"""Cameras: look_at, rescaling, position."""

from __future__ import annotations

import pytest
import torch

from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.projection import project


def pixels(camera: Camera, points: list[list[float]]) -> torch.Tensor:
    count = len(points)
    gaussians = WorldGaussians(
        torch.tensor(points, dtype=torch.float64),
        torch.ones(count, 4, dtype=torch.float64),
        torch.ones(count, 3, dtype=torch.float64),
        torch.ones(count, dtype=torch.float64),
        torch.ones(count, 1, dtype=torch.float64),
    )
    return project(gaussians, camera.to(dtype=torch.float64)).means2d


def test_look_at_puts_the_target_in_the_middle_and_up_above() -> None:
    camera = Camera.look_at((0.3, -0.2, 2.0), (0.1, 0.2, 0.0), width=60, height=40, dtype=torch.float64)
    middle, above, right = pixels(camera, [[0.1, 0.2, 0.0], [0.1, 0.3, 0.0], [0.2, 0.2, 0.0]])
    torch.testing.assert_close(middle, torch.tensor([30.0, 20.0], dtype=torch.float64))
    assert above[1] < 19 and abs(above[0] - 30) < 1
    assert right[0] > 31
    torch.testing.assert_close(camera.position, torch.tensor([0.3, -0.2, 2.0], dtype=torch.float64))
    rotation = camera.camera_from_world[:3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(rotation) > 0


def test_look_at_refuses_views_without_an_up() -> None:
    with pytest.raises(ValueError, match="no view"):
        Camera.look_at((0, 1, 0), (0, 0, 0), width=4, height=4)
    with pytest.raises(ValueError, match="no view"):
        Camera.look_at((0, 1, 0), (0, 1, 0), width=4, height=4)


@pytest.mark.parametrize("size", [2.0, 0.5, (90, 20)])
def test_a_scaled_camera_sees_the_same(size: float | tuple[int, int]) -> None:
    camera = Camera.look_at((0.3, -0.2, 2.0), (0.1, 0.2, 0.0), width=60, height=40, dtype=torch.float64)
    scaled = camera.scaled(size)
    points = [[0.0, 0.0, 0.0], [0.2, 0.1, -0.3]]
    ratio = torch.tensor([scaled.width / 60, scaled.height / 40], dtype=torch.float64)
    torch.testing.assert_close(pixels(scaled, points), pixels(camera, points) * ratio)


def test_scaling_rounds_to_whole_pixels() -> None:
    camera = Camera.look_at((0, 0, 1), (0, 0, 0), width=5, height=3).scaled(0.1)
    assert (camera.width, camera.height) == (1, 1)
    torch.testing.assert_close(camera.intrinsics[:2, 2], torch.tensor([0.5, 0.5]))
