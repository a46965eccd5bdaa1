import dataclasses

import numpy as np
import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.head import build_uv_layout, load_open_head, mirror_pixels


@pytest.fixture(scope="module")
def head():
    return load_open_head()


@pytest.fixture(scope="module")
def layout(head):
    return build_uv_layout(head)


def test_number_of_gaussians(layout):
    assert 57_000 <= layout.num_pixels <= 60_000
    assert len(layout) == layout.num_pixels == int(layout.mask.sum())


def test_every_region_gets_its_share(head, layout):
    part = head.part_of_face[layout.triangles]
    pixels = {name: int((part == index).sum()) for index, name in enumerate(head.part_names)}
    for name, least in {"skin": 45_000, "mouth_socket": 1_500, "left_eye": 1_300, "upper_teeth": 1_500}.items():
        assert pixels[name] >= least, name
    assert pixels["left_eye"] == pixels["right_eye"]
    has_pixel = torch.zeros(head.num_faces, dtype=torch.bool)
    has_pixel[layout.triangles] = True
    lost = head.part_faces("skin") & ~has_pixel
    # Slivers that lie between pixel centres: fewer than one in a hundred, and none of the eyes' or teeth's.
    assert lost.sum() < 0.01 * head.part_faces("skin").sum()
    assert has_pixel[head.part_faces("left_eye", "right_eye", "upper_teeth", "lower_teeth")].all()


def test_no_triangle_of_the_map_is_turned_over(head):
    corners = head.uv_coordinates.double()[head.uv_faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # Rows go down, so triangles that face the viewer run clockwise in rows and columns: negative.
    assert (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0).all()
    assert head.uv_coordinates.min() >= 0 and head.uv_coordinates.max() <= 1


def test_no_pixel_lies_in_two_triangles(head, layout):
    """Some pixels against all triangles, by brute force."""
    a, b, c = (head.uv_coordinates.double()[head.uv_faces] * layout.resolution).unbind(dim=1)
    chosen = torch.arange(0, len(layout), 80)
    point = torch.stack([layout.columns[chosen], layout.rows[chosen]], dim=1)[:, None].double() + 0.5

    def cross(p, q):
        return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]

    area = cross(b - a, c - a)
    weights = torch.stack([cross(b - point, c - point), cross(c - point, a - point), cross(a - point, b - point)])
    # On a shared edge both triangles may claim the point.
    inside = ((weights / area) > 1e-9).all(dim=0)
    assert inside.sum(dim=1).max() == 1
    alone = inside.any(dim=1)
    assert (inside.long().argmax(dim=1)[alone] == layout.triangles[chosen][alone]).all()
    assert alone.double().mean() > 0.99


def test_triangles_are_sorted_and_weights_are_barycentric(layout):
    assert (layout.triangles.diff() >= 0).all()
    torch.testing.assert_close(layout.barycentric.sum(dim=1), torch.ones(len(layout)), rtol=0, atol=1e-6)
    assert layout.barycentric.min() >= 0


def test_weights_give_back_the_pixel_centre(head, layout):
    corners = head.uv_coordinates[head.uv_faces[layout.triangles]] * layout.resolution
    centres = (corners * layout.barycentric[..., None]).sum(dim=1)
    expected = torch.stack([layout.columns, layout.rows], dim=1) + 0.5
    # A few roundings of float32 at 256.
    torch.testing.assert_close(centres, expected, rtol=0, atol=1e-3)


def test_grid_round_trip(layout):
    values = torch.arange(len(layout) * 2, dtype=torch.float32).reshape(-1, 2)
    grid = layout.to_grid(values, fill=-1)
    assert grid.shape == (256, 256, 2) and (grid[~layout.mask] == -1).all()
    assert (layout.from_grid(grid) == values).all()


def test_surface_points_are_on_the_posed_mesh_and_differentiable(head, layout):
    vertices = head.template[None].repeat(2, 1, 1).requires_grad_()
    points = layout.surface_points(vertices, head.faces)
    assert points.shape == (2, len(layout), 3)
    corners = head.template[head.faces[layout.triangles[100]]]
    torch.testing.assert_close(points[1, 100].detach(), layout.barycentric[100] @ corners)
    points.sum().backward()
    assert torch.isfinite(vertices.grad).all()


def test_layout_id_tells_head_and_resolution(head, layout):
    again = build_uv_layout(head)
    assert again.layout_id == layout.layout_id and layout.head_edition == head.edition
    assert build_uv_layout(head, 128).layout_id != layout.layout_id
    assert build_uv_layout(dataclasses.replace(head, edition="another")).layout_id != layout.layout_id


def test_turning_the_picture_over_turns_the_skin_over(head, layout):
    """The skin's part of the map is exactly symmetric: columns c and 255 - c are mirror images."""
    points = layout.to_grid(layout.surface_points(head.template, head.faces), fill=float("nan"))
    skin = layout.to_grid(head.part_faces("skin")[layout.triangles].float()[:, None])[..., 0] > 0
    flipped = points.flip(1) * torch.tensor([-1.0, 1, 1])
    both = skin & skin.flip(1)
    assert both.sum() == skin.sum()
    # Barycentric weights are rounded differently on either side.
    torch.testing.assert_close(points[both], flipped[both], rtol=0, atol=1e-5)


def test_mirror_pixels_are_mirror_images(head, layout):
    twin = mirror_pixels(layout, head)
    points = layout.surface_points(head.template, head.faces)
    distance = (points[twin] - points * torch.tensor([-1.0, 1, 1])).norm(dim=1)
    part = head.part_of_face[layout.triangles]
    assert distance[part == head.part_names.index("skin")].max() < 1e-4
    # Teeth and tongue have no exact twin: half the distance of neighbouring pixels on the coarsest, the tongue.
    assert distance.max() < 3e-3
    left = head.part_names.index("left_eye")
    assert (part[twin[part == left]] == head.part_names.index("right_eye")).all()


def test_head_without_texture_is_an_error_for_people(head):
    bare = dataclasses.replace(head, uv_faces=torch.full_like(head.uv_faces, -1))
    with pytest.raises(UserError, match="no UV coordinates"):
        build_uv_layout(bare)


def test_faces_without_texture_get_no_pixels(head):
    uv_faces = head.uv_faces.clone()
    teeth = head.part_faces("upper_teeth", "lower_teeth")
    uv_faces[teeth] = -1
    layout = build_uv_layout(dataclasses.replace(head, uv_faces=uv_faces))
    assert not teeth[layout.triangles].any()


@pytest.mark.parametrize("resolution", [16, 64, 512])
def test_other_resolutions(head, resolution):
    layout = build_uv_layout(head, resolution)
    # The rims of the islands are rounded to whole pixels.
    assert len(layout) / resolution**2 == pytest.approx(57_908 / 65_536, abs=3 / resolution)
    assert len(np.unique(layout.rows.numpy() * resolution + layout.columns.numpy())) == len(layout)
