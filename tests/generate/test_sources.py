"""Choosing frames and reading pixels: against plain loops."""

import math

import torch

from spatialavatar.generate.sources import choose_sources, erode, head_directions, project_points, sample_image
from tests.synthetic import subject


def test_samples_are_bilinear_with_centres_at_half() -> None:
    image = torch.rand(5, 7, 2, generator=torch.Generator().manual_seed(0))
    pixels = torch.tensor([[2.5, 1.5], [3.25, 2.0], [0.0, 0.0], [6.9, 4.9]])
    expected = []
    for x, y in pixels.tolist():
        x, y = min(max(x - 0.5, 0), 6), min(max(y - 0.5, 0), 4)
        left, top = min(int(x), 5), min(int(y), 3)
        u, v = x - left, y - top
        upper = image[top, left] * (1 - u) + image[top, left + 1] * u
        lower = image[top + 1, left] * (1 - u) + image[top + 1, left + 1] * u
        expected.append(upper * (1 - v) + lower * v)
    # 1e-5: grid_sample goes through normalised coordinates in float32.
    torch.testing.assert_close(sample_image(image, pixels), torch.stack(expected), atol=1e-5, rtol=0)


def test_erosion_is_the_smallest_neighbour() -> None:
    matte = torch.ones(6, 6)
    matte[2, 3] = 0.25
    eroded = erode(matte, 1)
    assert eroded[1:4, 2:5].eq(0.25).all() and eroded.sum() == 36 - 9 * 0.75


def test_projection_is_that_of_the_camera() -> None:
    camera = subject(frames=1, size=64, resolution=24).avatar.default_camera(64)
    points = torch.tensor([[0.01, 0.02, 0.03]])
    pixels, depth = project_points(points, camera.camera_from_world, camera.intrinsics)
    x, y, z = (camera.camera_from_world @ torch.tensor([0.01, 0.02, 0.03, 1.0]))[:3].tolist()
    fx, cx, cy = (float(camera.intrinsics[row, column]) for row, column in ((0, 0), (0, 2), (1, 2)))
    assert math.isclose(float(depth), z, rel_tol=1e-6)
    torch.testing.assert_close(pixels[0], torch.tensor([fx * x / z + cx, fx * y / z + cy]), atol=1e-3, rtol=0)


def test_sources_are_the_frames_that_look_furthest_apart() -> None:
    sequence = subject(frames=9, size=32, resolution=16).sequence
    yaw = torch.atan2(head_directions(sequence.motion)[:, 0], head_directions(sequence.motion)[:, 2])
    chosen = choose_sources(sequence, 0, 3)
    assert chosen[0] == 0
    assert set(chosen[1:]) == {int(yaw.argmax()), int(yaw.argmin())}
    assert choose_sources(sequence, 4, 3, candidates=[4, 5]) == [4, 5]
