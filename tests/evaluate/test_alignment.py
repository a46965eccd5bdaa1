import math

import pytest
import torch

from spatialavatar.evaluate.alignment import (
    Similarity,
    fit_all_frames,
    fit_each_frame,
    fit_similarity,
    head_vertices,
    residual,
)
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.sequence.validate import project
from spatialavatar.splat.camera import Camera


def rotation(*degrees: float) -> torch.Tensor:
    return rotation_matrix_from_axis_angle(torch.deg2rad(torch.tensor(degrees, dtype=torch.float64)))


def points(count: int = 40, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


KNOWN = Similarity(rotation(10.0, -25.0, 4.0), torch.tensor([0.05, -0.02, 0.6], dtype=torch.float64), 1.07)


def test_a_known_similarity_is_found_again() -> None:
    source = points()
    found = fit_similarity(source, KNOWN.apply(source))
    torch.testing.assert_close(found.rotation, KNOWN.rotation, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.translation, KNOWN.translation, atol=1e-12, rtol=0)
    assert found.scale == pytest.approx(KNOWN.scale, abs=1e-12)


def test_no_other_similarity_is_nearer() -> None:
    source = points()
    target = KNOWN.apply(source) + 0.01 * points(seed=1)
    found = fit_similarity(source, target)

    def error(similarity: Similarity) -> float:
        return float((similarity.apply(source) - target).square().sum())

    best = error(found)
    for axis in range(3):
        for step in (-1e-3, 1e-3):
            turn = torch.zeros(3, dtype=torch.float64)
            turn[axis] = step
            turned = rotation_matrix_from_axis_angle(turn) @ found.rotation
            middle = found.translation - (turned - found.rotation) @ (found.scale * source.mean(0))
            assert error(Similarity(turned, middle, found.scale)) > best
            assert error(Similarity(found.rotation, found.translation + turn, found.scale)) > best
    for scale in (found.scale - 1e-3, found.scale + 1e-3):
        middle = found.translation - (scale - found.scale) * found.rotation @ source.mean(0)
        assert error(Similarity(found.rotation, middle, scale)) > best


def test_a_mirror_image_is_met_by_a_rotation() -> None:
    source = points()
    found = fit_similarity(source, source * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    assert torch.linalg.det(found.rotation) == pytest.approx(1.0)


def test_a_given_scale_is_kept() -> None:
    source = points()
    assert fit_similarity(source, KNOWN.apply(source), scale=1.0).scale == 1.0


def test_frames_with_poses_of_their_own_share_one_scale() -> None:
    source = torch.stack([points(seed=k) for k in range(5)])
    target = torch.stack(
        [
            1.3 * frame @ rotation(7.0 * k, -9.0 * k, 2.0).T + torch.tensor([0.1 * k, 0.0, 0.3])
            for k, frame in enumerate(source)
        ]
    )
    found = fit_each_frame(source, target)
    assert found.scale == pytest.approx(1.3, abs=1e-12)
    assert float(residual(found, source, target).max()) < 1e-12
    assert float(residual(fit_all_frames(source, target), source, target).min()) > 1e-3
    torch.testing.assert_close(found.frame(3).apply(source[3]), found.apply(source)[3])


def test_a_camera_in_the_other_world_sees_the_same_picture() -> None:
    source = points()
    camera = Camera.look_at(
        (0.3, 0.2, 2.0), (0.0, 0.0, 0.6), width=64, height=64, vertical_field_of_view=math.radians(30)
    )
    moved = KNOWN.camera_in_source(camera)
    pixels = [
        project(at[None].float(), seen.camera_from_world[None], seen.intrinsics[None])[0]
        for at, seen in ((KNOWN.apply(source), camera), (source, moved))
    ]
    # Measured 2e-5 pixels in float32.
    torch.testing.assert_close(*pixels, atol=6e-5, rtol=0)
    turn = moved.camera_from_world[:3, :3]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3), atol=1e-6, rtol=0)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="three points"):
        fit_similarity(points(2), points(2))
    with pytest.raises(ValueError, match="one place"):
        fit_similarity(torch.zeros(4, 3), points(4))


def test_the_head_s_vertices_are_those_above_the_shoulders() -> None:
    head = load_open_head()
    chosen = head_vertices(head)
    on_head = torch.zeros(head.num_vertices, dtype=torch.bool)
    on_head[chosen] = True
    lowest = head.template[:, 1].argmin()
    highest = head.template[:, 1].argmax()
    assert not on_head[lowest] and on_head[highest]
    assert head.template[chosen, 1].min() > -0.11
