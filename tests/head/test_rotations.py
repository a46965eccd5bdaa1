import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from spatialavatar.head.rotations import (
    axis_angle_from_rotation_matrix,
    conjugate_quaternions_wxyz,
    multiply_quaternions_wxyz,
    quaternions_wxyz_from_rotation_matrix,
    rotation_matrix_from_axis_angle,
    rotation_matrix_from_quaternions_wxyz,
)

# A few roundings of float64 each.
TOLERANCE = {"rtol": 0, "atol": 1e-12}
components = st.floats(-4, 4, allow_nan=False, width=32)
vectors = st.tuples(components, components, components).map(lambda v: torch.tensor(v, dtype=torch.float64))


@given(vectors)
@settings(max_examples=200, deadline=None)
def test_matrix_agrees_with_scipy(axis_angle):
    expected = Rotation.from_rotvec(axis_angle.numpy()).as_matrix()
    np.testing.assert_allclose(rotation_matrix_from_axis_angle(axis_angle).numpy(), expected, **TOLERANCE)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.0316, 0.0317, 0.5, math.pi - 1e-7])
def test_axis_angle_round_trip_through_the_switch_to_series(angle):
    axis_angle = torch.tensor([0.36, -0.48, 0.8], dtype=torch.float64) * angle
    back = axis_angle_from_rotation_matrix(rotation_matrix_from_axis_angle(axis_angle))
    # Near pi the angle follows from the small real part of a quaternion: half the digits.
    torch.testing.assert_close(back, axis_angle, rtol=0, atol=1e-8 if angle > 3 else 1e-12)


def test_half_turn_has_the_right_axis():
    for axis in torch.eye(3, dtype=torch.float64):
        back = axis_angle_from_rotation_matrix(rotation_matrix_from_axis_angle(axis * math.pi))
        torch.testing.assert_close(back.abs(), axis * math.pi, rtol=0, atol=1e-7)


@given(vectors)
@settings(max_examples=100, deadline=None)
def test_quaternions_round_trip(axis_angle):
    matrix = rotation_matrix_from_axis_angle(axis_angle)
    quaternion = quaternions_wxyz_from_rotation_matrix(matrix)
    assert quaternion[0] >= 0
    torch.testing.assert_close(quaternion.norm(), torch.tensor(1.0, dtype=torch.float64), **TOLERANCE)
    torch.testing.assert_close(rotation_matrix_from_quaternions_wxyz(quaternion), matrix, **TOLERANCE)
    torch.testing.assert_close(rotation_matrix_from_quaternions_wxyz(-2.5 * quaternion), matrix, **TOLERANCE)


@given(vectors, vectors)
@settings(max_examples=100, deadline=None)
def test_product_of_quaternions_is_composition(first, second):
    a, b = rotation_matrix_from_axis_angle(first), rotation_matrix_from_axis_angle(second)
    qa, qb = quaternions_wxyz_from_rotation_matrix(a), quaternions_wxyz_from_rotation_matrix(b)
    product = rotation_matrix_from_quaternions_wxyz(multiply_quaternions_wxyz(qa, qb))
    torch.testing.assert_close(product, a @ b, **TOLERANCE)
    identity = multiply_quaternions_wxyz(qa, conjugate_quaternions_wxyz(qa))
    torch.testing.assert_close(identity, torch.tensor([1.0, 0, 0, 0], dtype=torch.float64), **TOLERANCE)


@pytest.mark.parametrize("scale", [0.0, 1e-5, 0.0316, 0.0317, 1.3])
def test_gradients_are_finite_and_right(scale):
    axis_angle = (scale * torch.tensor([[0.3, -0.5, 0.8]], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(rotation_matrix_from_axis_angle, (axis_angle,))
    there_and_back = lambda a: axis_angle_from_rotation_matrix(rotation_matrix_from_axis_angle(a))  # noqa: E731
    assert torch.autograd.gradcheck(there_and_back, (axis_angle,))


def test_batches_of_any_shape():
    axis_angle = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    matrix = rotation_matrix_from_axis_angle(axis_angle)
    assert matrix.shape == (2, 3, 4, 3, 3)
    torch.testing.assert_close(matrix[1, 2, 3], rotation_matrix_from_axis_angle(axis_angle[1, 2, 3]))
    assert quaternions_wxyz_from_rotation_matrix(matrix).shape == (2, 3, 4, 4)
