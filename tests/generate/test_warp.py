"""The barycentric warp: against plain loops, and on a known picture."""

import torch

from spatialavatar.generate.inputs import letterboxed, prepare_sources
from spatialavatar.generate.warp import warp
from spatialavatar.splat.camera import Camera
from tests.generate.small import layout, person


def sampled_by_loops(picture: torch.Tensor, x: float, y: float, size: int) -> torch.Tensor:
    """Bilinear sample of (C, H, W), which covers `size` x `size` pixels, at x, y; the border continues."""
    height, width = picture.shape[1:]
    column, row = x * width / size - 0.5, y * height / size - 0.5
    column, row = min(max(column, 0), width - 1), min(max(row, 0), height - 1)
    left, top = min(int(column), width - 2), min(int(row), height - 2)
    u, v = column - left, row - top
    upper = picture[:, top, left] * (1 - u) + picture[:, top, left + 1] * u
    lower = picture[:, top + 1, left] * (1 - u) + picture[:, top + 1, left + 1] * u
    return upper * (1 - v) + lower * v


def test_warp_is_bilinear_for_every_subject_and_source() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 3, 4, 6, 5, generator=generator)
    pixels = torch.rand(2, 3, 7, 2, generator=generator) * 70 - 3
    found = warp(maps, pixels, 64)
    assert found.shape == (2, 3, 4, 7)
    for subject in range(2):
        for source in range(3):
            for index in range(7):
                expected = sampled_by_loops(maps[subject, source], *pixels[subject, source, index].tolist(), 64)
                # 1e-5: through normalised coordinates in float32.
                torch.testing.assert_close(found[subject, source, :, index], expected, atol=1e-5, rtol=0)


def test_a_ramp_comes_back_as_coordinates() -> None:
    """A picture whose colours are its own pixel coordinates: the warp returns where it was asked for."""
    size = 64
    middle = torch.arange(size) + 0.5
    ramp = torch.stack(torch.meshgrid(middle, middle, indexing="xy"))[None, None]
    pixels = torch.rand(1, 1, 50, 2) * (size - 1) + 0.5
    torch.testing.assert_close(warp(ramp, pixels, size)[0, 0].T, pixels[0, 0], atol=1e-3, rtol=0)


def test_gradients_are_those_of_finite_differences() -> None:
    maps = torch.rand(1, 2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    pixels = torch.rand(1, 2, 5, 2, dtype=torch.float64) * 16
    assert torch.autograd.gradcheck(lambda value: warp(value, pixels, 16), (maps,))


def test_points_project_where_the_camera_puts_them() -> None:
    made = person()
    sequence, head = made.sequence, made.avatar.head
    sources = prepare_sources([(sequence, 2)], head, layout(), 96, shell=False)
    vertices = head.pose(head.prepare_identity(sequence.identity), sequence.motion[2])[0]
    points = layout().surface_points(vertices, head.faces)
    camera = sequence.camera(2)
    for index in range(0, len(points), 97):
        x, y, z = (camera.camera_from_world[:3, :3] @ points[index] + camera.camera_from_world[:3, 3]).tolist()
        expected = [
            float(camera.intrinsics[axis, axis]) * value / z + float(camera.intrinsics[axis, 2])
            for axis, value in ((0, x), (1, y))
        ]
        # 0.01 pixel: float32 through the local frames and back.
        torch.testing.assert_close(sources.pixels[0, 0, index], torch.tensor(expected), atol=1e-2, rtol=0)


def test_what_is_seen_faces_the_camera() -> None:
    made = person()
    sources = prepare_sources([(made.sequence, 0)], made.avatar.head, layout(), 96, shell=False)
    points = layout().surface_points(made.avatar.head.template, made.avatar.head.faces)
    seen = sources.visibility[0, 0]
    nose, nape = points[:, 2].argmax(), points[:, 2].argmin()
    assert seen[nose] > 0.5 and seen[nape] == 0
    assert float(seen.min()) >= 0 and float(seen.max()) <= 1
    mouth = made.avatar.head.part_of_face[layout().triangles] == made.avatar.head.part_names.index("mouth_socket")
    assert float(seen[mouth].mean()) < 0.05  # behind closed lips


def test_pictures_of_any_shape_become_square() -> None:
    camera = Camera(torch.eye(4), torch.tensor([[50.0, 0, 20], [0, 50, 40], [0, 0, 1]]), 40, 80)
    picture = torch.ones(1, 80, 40)
    picture[:, :, 20:] = 0.5
    square, moved = letterboxed(picture, camera, 40)
    assert square.shape == (1, 40, 40) and (moved.width, moved.height) == (40, 40)
    assert (square[:, :, :10] == 0).all() and (square[:, :, 30:] == 0).all()
    assert abs(float(square[0, 20, 12]) - 1) < 1e-5 and abs(float(square[0, 20, 27]) - 0.5) < 1e-5
    # Half the size, and ten columns of margin: what was at the principal point is in the middle.
    expected = torch.tensor([[25.0, 0, 20], [0, 25, 20], [0, 0, 1]])
    torch.testing.assert_close(moved.intrinsics, expected)
