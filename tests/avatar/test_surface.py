"""Footprints against a finite difference, fills against a dense solve."""

import pytest
import torch

from spatialavatar.avatar.binding import triangle_frames
from spatialavatar.avatar.surface import face_band, local_points, pixel_footprints, smooth_fill, surface_graph
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import UVLayout, build_uv_layout


@pytest.fixture(scope="module")
def head() -> Head:
    return load_open_head()


@pytest.fixture(scope="module")
def layout(head: Head) -> UVLayout:
    return build_uv_layout(head, 64)


def test_footprint_is_the_step_to_the_next_pixel(head: Head, layout: UVLayout) -> None:
    """One pixel along u and one along v span a parallelogram in the triangle: same area, same bound on lengths."""
    footprint = pixel_footprints(head, layout, head.template)
    uv = head.uv_coordinates[head.uv_faces[layout.triangles]].double() * layout.resolution
    corners = head.template[head.faces[layout.triangles]].double()
    scale = triangle_frames(head.template, head.faces).scales[layout.triangles].double()

    def at(pixel: torch.Tensor) -> torch.Tensor:
        matrix = torch.cat([uv.transpose(1, 2), torch.ones(len(uv), 1, 3).double()], 1)
        weights = torch.linalg.solve(matrix, torch.cat([pixel, torch.ones(len(uv), 1).double()], 1))
        return (weights[..., None] * corners).sum(1)

    middle = uv.mean(1)
    step_u = (at(middle + torch.tensor([1.0, 0.0]).double()) - at(middle)) / scale[:, None]
    step_v = (at(middle + torch.tensor([0.0, 1.0]).double()) - at(middle)) / scale[:, None]
    area = torch.linalg.cross(step_u, step_v).norm(dim=1)
    # 1e-3 relative: float32 footprints against float64 steps, on slivers too; the median is far tighter.
    torch.testing.assert_close(footprint.size.double() ** 2, area, rtol=5e-3, atol=1e-6)
    longest = torch.maximum(step_u.norm(dim=1), step_v.norm(dim=1))
    assert (2 * footprint.scales[:, 0].double() >= longest * (1 - 5e-3)).all()


def test_local_points_lie_in_their_triangle(head: Head, layout: UVLayout) -> None:
    local = local_points(layout, head.template, head.faces)
    # Normal coordinate zero up to float32 rounding of positions of 0.2 m over scales of millimetres.
    assert local[:, 1].abs().max() < 1e-3
    frames = triangle_frames(head.template, head.faces)
    world = (frames.rotations[layout.triangles] @ local[..., None])[..., 0]
    world = world * frames.scales[layout.triangles][:, None] + frames.centers[layout.triangles]
    torch.testing.assert_close(world, layout.surface_points(head.template, head.faces), atol=1e-6, rtol=0)


def test_graph_is_symmetric_and_stays_within_parts(head: Head, layout: UVLayout) -> None:
    graph = surface_graph(head, layout, head.template)
    pairs = set(zip(graph.rows.tolist(), graph.columns.tolist(), strict=True))
    assert all((right, left) in pairs for left, right in pairs)
    parts = head.part_of_face[layout.triangles].numpy()
    assert (parts[graph.rows] == parts[graph.columns]).all()


def test_smooth_fill_is_the_dense_solution(head: Head) -> None:
    layout = build_uv_layout(head, 24)
    graph = surface_graph(head, layout, head.template)
    count = len(layout.triangles)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(count, 2, generator=generator)
    confidence = (torch.rand(count, generator=generator) > 0.7).float()
    laplacian = torch.diag(torch.from_numpy(graph.degree))
    laplacian[graph.rows, graph.columns] -= 1.0
    weights = confidence.double() + 1e-6
    expected = torch.linalg.solve(torch.diag(weights) + 0.03 * laplacian, weights[:, None] * values.double())
    # 1e-6: the result is rounded to float32.
    torch.testing.assert_close(smooth_fill(values, confidence, graph, 0.03).double(), expected, atol=1e-6, rtol=1e-6)


def test_smooth_fill_keeps_islands_nobody_knows_anything_about(head: Head, layout: UVLayout) -> None:
    graph = surface_graph(head, layout, head.template)
    values = torch.full((len(layout.triangles), 1), 0.25)
    filled = smooth_fill(values, torch.zeros(len(values)), graph, 0.03)
    torch.testing.assert_close(filled, values, atol=1e-5, rtol=0)


def test_the_face_ends_at_the_chin_and_at_the_brows(head: Head, layout: UVLayout) -> None:
    band, above = face_band(head, layout)
    heights = layout.surface_points(head.template, head.faces)[:, 1]
    landmarks = load_landmarks(head).points(head.template, head.faces)[:, 1]
    chin, top = float(landmarks.min()), float(landmarks.max())
    is_skin = head.part_of_face[layout.triangles] == head.part_names.index("skin")
    assert band[~is_skin | (heights < chin - 0.011) | (heights > top + 0.011)].eq(0).all()
    assert band[is_skin & (heights > chin + 0.006) & (heights < top - 0.001)].eq(1).all()
    mouth = chin + 0.4 * (top - chin)
    assert above[heights < mouth - 0.01].eq(0).all() and (above <= band).all()
    assert above[is_skin & (heights > mouth + 0.01) & (heights < top - 0.001)].eq(1).all()
