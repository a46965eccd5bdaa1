"""The mesh rasteriser against rays."""

import numpy as np
import pytest

from spatialavatar import _native
from spatialavatar.synth.raster import Mesh, Target, sample_texture, vertex_normals
from tests.oracles.rasterising import cast_rays

SIZE = 40
INTRINSICS = np.array([[50.0, 0, 21.3], [0, 46.0, 18.7], [0, 0, 1]])


def scene(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    centres = np.concatenate([random.uniform(-0.4, 0.4, (count, 1, 2)), random.uniform(0.8, 2, (count, 1, 1))], 2)
    points = (centres + random.normal(0, 0.15, (count, 3, 3))).reshape(-1, 3)
    points[:, 2] = np.maximum(points[:, 2], 0.3)
    return points, np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def projected(points: np.ndarray) -> np.ndarray:
    pixels = points @ INTRINSICS.T
    return np.concatenate([pixels[:, :2] / pixels[:, 2:], 1 / points[:, 2:]], 1).astype(np.float32)


def drawn() -> tuple[Target, np.ndarray, np.ndarray]:
    points, faces = scene()
    target = Target(SIZE, SIZE)
    target.draw(Mesh(projected(points), faces))
    return target, points, faces


def test_silhouette_faces_and_weights_are_those_of_rays() -> None:
    target, points, faces = drawn()
    face, weights, depth = cast_rays(points, faces, INTRINSICS, SIZE, SIZE)
    assert 0.3 < (face >= 0).mean() < 0.95  # the scene covers much and leaves some
    # Corners are rounded to float32, 2e-6 of a pixel; a sample that near to an edge may fall either way.
    same = target.face == face
    assert (~same).sum() <= 2
    seen = same & (face >= 0)
    # Rounding of the corners, seen through small triangles at a slant.
    np.testing.assert_allclose(target.barycentric[seen], weights[seen][:, 1:], atol=2e-4)
    np.testing.assert_allclose(1 / target.nearness[seen], depth[seen], rtol=1e-5)


def test_colours_are_carried_over_as_on_the_surface() -> None:
    target, points, faces = drawn()
    colors = np.random.default_rng(4).random((len(points), 3)).astype(np.float32)
    face, weights, _ = cast_rays(points, faces, INTRINSICS, SIZE, SIZE)
    shown = target.shown(0)
    truth = np.einsum("mk,mkc->mc", weights.reshape(-1, 3)[shown.samples], colors[faces[shown.face]])
    agree = face.reshape(-1)[shown.samples] == shown.face
    np.testing.assert_allclose(shown.interpolate(faces, colors)[agree], truth[agree], atol=4e-4)


def test_meshes_hide_each_other_in_any_order() -> None:
    points, faces = scene()
    near, far = Mesh(projected(points), faces[:30]), Mesh(projected(points), faces[30:])
    one, other = Target(SIZE, SIZE), Target(SIZE, SIZE)
    one.draw(near), one.draw(far)
    other.draw(far), other.draw(near)
    assert np.array_equal(one.nearness, other.nearness)
    assert np.array_equal(one.shown(0).samples, other.shown(1).samples)
    assert np.array_equal(one.shown(1).face, other.shown(0).face)


def test_what_lies_behind_the_camera_or_is_no_number_is_left_out() -> None:
    points = np.array([[5, 5, 1], [30, 5, 1], [5, 30, -1], [np.nan, 5, 1]], np.float32)
    target = Target(SIZE, SIZE)
    target.draw(Mesh(points, np.array([[0, 1, 2], [0, 1, 3], [0, 0, 1]], np.int32)))
    assert (target.face == -1).all()


def test_shared_edges_leave_no_gaps() -> None:
    # A fan that covers the image: each sample in one of its triangles.
    angles = np.linspace(0, 2 * np.pi, 33)[:-1]
    rim = np.stack([20 + 60 * np.cos(angles), 20 + 60 * np.sin(angles), np.ones(32)], 1)
    points = np.concatenate([[[19.5, 20.25, 1]], rim]).astype(np.float32)
    faces = np.array([[0, k + 1, (k + 1) % 32 + 1] for k in range(32)], np.int32)
    target = Target(SIZE, SIZE)
    target.draw(Mesh(points, faces))
    assert (target.face >= 0).all()


def test_without_perspective_weights_are_those_of_the_picture() -> None:
    points = np.array([[0, 0, -3], [40, 0, 5], [0, 40, 7]], np.float32)
    target = Target(SIZE, SIZE, perspective=False)
    target.draw(Mesh(points, np.array([[0, 1, 2]], np.int32)))
    assert target.barycentric[9, 19] == pytest.approx([19.5 / 40, 9.5 / 40], abs=1e-6)
    assert target.nearness[9, 19] == pytest.approx(-3 + 8 * 19.5 / 40 + 10 * 9.5 / 40, abs=1e-5)


def test_texture_is_read_between_texels_and_ends_at_the_border() -> None:
    texture = np.random.default_rng(0).random((5, 4, 2)).astype(np.float32)
    places = np.array([[0.5 / 4, 0.5 / 5], [1.0 / 4, 1.5 / 5], [-3, 0.5 / 5], [9, 9]], np.float32)
    read = sample_texture(texture, places)
    expected = [texture[0, 0], (texture[1, 0] + texture[1, 1]) / 2, texture[0, 0], texture[-1, -1]]
    np.testing.assert_allclose(read, expected, atol=1e-6)  # float32


def test_wrong_indices_are_refused_before_they_are_followed() -> None:
    target = Target(4, 4)
    with pytest.raises(ValueError, match="no vertex"):
        target.draw(Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 3]], np.int32)))
    with pytest.raises(ValueError, match="no such face"):
        _native.mesh_interpolate(
            np.array([1], np.int32),
            np.zeros((1, 2), np.float32),
            np.array([[0, 1, 2]], np.int32),
            np.zeros((3, 1), np.float32),
            np.zeros((1, 1), np.float32),
        )


def test_normals_point_out_of_a_counter_clockwise_triangle() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    assert vertex_normals(points, np.array([[0, 1, 2]], np.int32)) == pytest.approx(np.tile([0, 0, 1], (3, 1)))


def test_places_that_are_no_numbers_are_looked_up_inside() -> None:
    texture = np.random.default_rng(0).random((3, 5, 2)).astype(np.float32)
    places = np.array(
        [[np.nan, 0.5], [0.5, np.nan], [np.nan, np.nan], [np.inf, -np.inf], [1e38, -1e38], [-0.0, 1.0]], np.float32
    )
    found = sample_texture(texture, places)
    inside = np.array([[0, 0.5], [0.5, 0], [0, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    np.testing.assert_array_equal(found, sample_texture(texture, inside))
    np.testing.assert_array_equal(found[2:], texture[[0, 0, 0, 2], [0, 4, 4, 0]])


def test_corners_that_are_no_numbers_are_not_drawn_and_break_nothing() -> None:
    points, faces = scene(4)
    plain = projected(points)
    for value in (np.nan, np.inf, -np.inf, 3e38, -3e38):
        for corner in range(3):
            for axis in range(3):
                changed = plain.copy()
                changed[corner, axis] = value
                for perspective in (True, False):
                    target = Target(SIZE, SIZE, perspective=perspective)
                    target.draw(Mesh(changed, faces))
                    assert target.face.min() >= -1 and target.face.max() < 4
                    assert (target.shown(0).interpolate(faces, plain)).shape[1] == 3
