"""Binding Gaussians to triangles (Eq. 1 and 8)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spatialavatar import _native
from spatialavatar.avatar.binding import (
    Binding,
    local_from_world,
    make_binding,
    triangle_frames,
    world_from_local,
    world_from_local_torch,
)
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.head.rotations import (
    multiply_quaternions_wxyz,
    quaternions_wxyz_from_rotation_matrix,
    rotation_matrix_from_axis_angle,
    rotation_matrix_from_quaternions_wxyz,
)

seeds = st.integers(0, 2**31 - 1)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["kernel", "torch"])


def mesh(seed: int, triangles: int = 40, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Vertices (V, 3) and faces (F, 3) of a soup of random triangles, a decimetre in size, that share vertices.

    None is a sliver: those amplify rounding without bound, and have tests of their own.
    """
    generator = torch.Generator().manual_seed(seed)
    count = 4 + triangles // 2
    vertices = 0.1 * torch.randn(count, 3, generator=generator)
    faces = torch.rand(4 * triangles, count, generator=generator).topk(3).indices
    edge, side = (vertices[faces[:, corner]] - vertices[faces[:, 0]] for corner in (1, 2))
    sine = torch.linalg.cross(edge, side).norm(dim=-1) / (edge.norm(dim=-1) * side.norm(dim=-1))
    good = (sine > 0.1) & (edge.norm(dim=-1) > 0.02)
    return vertices.to(dtype), faces[good][:triangles]


def bound(seed: int, faces: Tensor, vertices: Tensor, count: int = 150) -> tuple[LocalGaussians, Binding]:
    generator = torch.Generator().manual_seed(seed)
    triangles = torch.randint(0, len(faces), (count,), generator=generator).sort().values
    local = LocalGaussians(
        positions=torch.randn(count, 3, generator=generator),
        quaternions_wxyz=torch.randn(count, 4, generator=generator),
        log_scales=torch.randn(count, 3, generator=generator),
        opacity_logits=10 * torch.rand(count, generator=generator) - 5,
        colors=torch.rand(count, 3, generator=generator),
    )
    return local.to(dtype=vertices.dtype), make_binding(faces, triangles, len(vertices))


def rounding(dtype: torch.dtype) -> float:
    """Of lengths of about 1 m and of rotations. Vertices a few metres from the origin are rounded to 2e-7 m, and a
    triangle 2 cm in size with a sine of 0.1 amplifies that 500 times."""
    return 5e-4 if dtype == torch.float32 else 1e-9


def test_a_known_triangle() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0.5, 1, 0]])
    frames = triangle_frames(vertices, torch.tensor([[0, 1, 2]]))
    # a0 along the edge, a1 the normal, a2 = a0 x a1: along the edge's left, turned round.
    expected = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    torch.testing.assert_close(frames.rotations[0], expected)
    torch.testing.assert_close(frames.centers[0], torch.tensor([2.5 / 3, 1 / 3, 0]))
    assert frames.scales[0].item() == pytest.approx((2 + 1) / 2)  # the mean of the edge and the altitude on it
    turned = rotation_matrix_from_quaternions_wxyz(frames.quaternions_wxyz[0])
    torch.testing.assert_close(turned, expected)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_frames_are_rotations(seed: int) -> None:
    frames = triangle_frames(*mesh(seed))
    unit = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(frames.rotations @ frames.rotations.mT, unit.expand_as(frames.rotations))
    # Right-handed: the paper's printed sign would make these -1.
    torch.testing.assert_close(torch.linalg.det(frames.rotations), torch.ones_like(frames.scales))
    torch.testing.assert_close(rotation_matrix_from_quaternions_wxyz(frames.quaternions_wxyz), frames.rotations)
    assert (frames.scales > 0).all()


@dtypes
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_a_rigid_motion_of_the_mesh_moves_every_gaussian_by_it(seed: int, dtype: torch.dtype) -> None:
    vertices, faces = mesh(seed, dtype=dtype)
    local, binding = bound(seed, faces, vertices)
    generator = torch.Generator().manual_seed(seed + 1)
    rotation = rotation_matrix_from_axis_angle(2 * torch.randn(3, generator=generator).double()).to(dtype)
    translation = torch.randn(3, generator=generator).to(dtype)
    before = world_from_local(local, vertices, binding)
    after = world_from_local(local, vertices @ rotation.T + translation, binding)
    tolerance = rounding(dtype)
    expected = before.positions @ rotation.T + translation
    torch.testing.assert_close(after.positions, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(after.scales, before.scales, rtol=tolerance, atol=tolerance)
    # Rotations are compared, not quaternions: q and -q are the same one.
    turn = quaternions_wxyz_from_rotation_matrix(rotation)
    turned = multiply_quaternions_wxyz(turn.expand(len(local), 4), before.quaternions_wxyz)
    torch.testing.assert_close(
        rotation_matrix_from_quaternions_wxyz(after.quaternions_wxyz),
        rotation_matrix_from_quaternions_wxyz(turned),
        rtol=0,
        atol=10 * tolerance,
    )


@dtypes
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_local_to_world_and_back_is_the_identity(seed: int, dtype: torch.dtype) -> None:
    vertices, faces = mesh(seed, dtype=dtype)
    local, binding = bound(seed, faces, vertices)
    back = local_from_world(world_from_local(local, vertices, binding), vertices, binding)
    for name, expected in vars(local).items():
        found = getattr(back, name)
        torch.testing.assert_close(found, expected, rtol=0, atol=rounding(dtype), msg=lambda m, n=name: f"{n}: {m}")


def test_the_mesh_scale_scales_the_gaussians() -> None:
    vertices, faces = mesh(3)
    local, binding = bound(3, faces, vertices)
    small, large = world_from_local(local, vertices, binding), world_from_local(local, 3 * vertices, binding)
    torch.testing.assert_close(large.scales, 3 * small.scales)
    torch.testing.assert_close(large.positions, 3 * small.positions)
    torch.testing.assert_close(large.opacities, local.opacity_logits.sigmoid())


def gradients(
    local: LocalGaussians, vertices: Tensor, binding: Binding, outer: list[Tensor], dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """Values of positions, quaternions, scales and gradients of vertices, positions, quaternions, log-scales."""
    leaves = [vertices, local.positions, local.quaternions_wxyz, local.log_scales]
    leaves = [leaf.detach().to(dtype).clone().requires_grad_() for leaf in leaves]
    rest = (local.opacity_logits.to(dtype), local.colors.to(dtype))
    world = world_from_local(LocalGaussians(*leaves[1:], *rest), leaves[0], binding)
    outputs = [world.positions, world.quaternions_wxyz, world.scales]
    torch.autograd.backward(outputs, [gradient.to(dtype) for gradient in outer])
    found = [leaf.grad for leaf in leaves]
    assert all(gradient is not None for gradient in found)
    return outputs, found  # type: ignore[return-value]


@pytest.mark.parametrize("triangles", [40, 3000])
def test_the_kernel_agrees_with_torch(triangles: int) -> None:
    vertices, faces = mesh(5, triangles)
    vertices = vertices.float().double()
    faces[3, 1] = faces[3, 0]  # no edge
    faces[5, 2] = faces[5, 0]  # no altitude
    faces[7] = faces[7, 0]  # a point
    local, binding = bound(6, faces, vertices, count=6 * triangles)
    local = local.to(dtype=torch.float32)
    generator = torch.Generator().manual_seed(1)
    outer = [torch.randn(len(local), width, generator=generator) for width in (3, 4, 3)]
    values, grads = gradients(local, vertices, binding, outer, torch.float32)
    expected_values, expected_grads = gradients(local, vertices, binding, outer, torch.float64)
    for name, found, expected in zip(("position", "quaternion", "scale"), values, expected_values, strict=True):
        assert (found - expected).norm() < 1e-6 * expected.norm(), name  # float32 rounding
    for name, found, expected in zip(("vertex", "position", "quaternion", "scale"), grads, expected_grads, strict=True):
        # The vertices' gradients contain 1 / altitude, which loses digits for slivers.
        assert (found - expected).norm() < 1e-5 * expected.norm(), name


def test_gradients_agree_with_finite_differences() -> None:
    vertices, faces = mesh(0, triangles=6)
    local, binding = bound(0, faces, vertices, count=9)
    leaves = [vertices, local.positions, local.quaternions_wxyz, local.log_scales]

    def outputs(*tensors: Tensor) -> tuple[Tensor, ...]:
        return world_from_local_torch(*tensors, binding)  # type: ignore[call-arg]

    assert torch.autograd.gradcheck(outputs, [leaf.clone().requires_grad_() for leaf in leaves])


@dtypes
def test_degenerate_triangles_stay_finite(dtype: torch.dtype) -> None:
    tiny = 1e-7
    vertices = torch.tensor(
        [[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [1, tiny, 0], [0, tiny / 100, 0], [1e-12, 0, 0], [0, 0, 1e-12]], dtype=dtype
    )
    faces = torch.tensor([[0, 0, 0], [0, 1, 2], [0, 0, 1], [0, 1, 0], [0, 1, 3], [0, 4, 1], [0, 5, 6], [0, 4, 2]])
    triangles = torch.arange(len(faces)).repeat_interleave(4)
    local, binding = bound(1, faces, vertices, count=len(triangles))
    binding = make_binding(faces, triangles, len(vertices))
    frames = triangle_frames(vertices, faces)
    unit = torch.eye(3, dtype=dtype).expand_as(frames.rotations)
    torch.testing.assert_close(frames.rotations @ frames.rotations.mT, unit, rtol=0, atol=1e-5)
    assert (torch.linalg.det(frames.rotations) > 0.99).all()
    outer = [torch.ones(len(local), width) for width in (3, 4, 3)]
    values, grads = gradients(local, vertices, binding, outer, dtype)
    assert all(tensor.isfinite().all() for tensor in (*values, *grads))
    assert (values[2] > 0).all()
    back = local_from_world(world_from_local(local, vertices, binding), vertices, binding)
    assert all(tensor.isfinite().all() for tensor in vars(back).values())


def test_extreme_values_stay_apart() -> None:
    vertices, faces = mesh(2, dtype=torch.float32)
    local, binding = bound(2, faces, vertices)
    local.log_scales[0] = torch.tensor([float("nan"), 200.0, -200.0])
    local.positions[1, 2] = float("nan")
    world = world_from_local(local, vertices, binding)
    assert world.scales[0, 0].isnan() and world.scales[0, 1:].isfinite().all()
    assert world.positions[1].isnan().all()
    assert all(tensor[2:].isfinite().all() for tensor in vars(world).values())


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    vertices, faces = mesh(5, 3000, torch.float32)
    local, binding = bound(6, faces, vertices, count=18_000)
    outer = [torch.ones(len(local), width) for width in (3, 4, 3)]
    before = _native.threads()
    results = []
    try:
        for count in (1, 2, 5):
            _native.set_threads(count)
            values, grads = gradients(local, vertices, binding, outer, torch.float32)
            results.append([*values, *grads])
    finally:
        _native.set_threads(before)
    assert all(torch.equal(a, b) for result in results[1:] for a, b in zip(results[0], result, strict=True))


def test_opacities_at_the_ends_have_finite_logits() -> None:
    vertices, faces = mesh(2)
    local, binding = bound(2, faces, vertices, count=2)
    local.opacity_logits[0], local.opacity_logits[1] = -math.inf, math.inf
    back = local_from_world(world_from_local(local, vertices, binding), vertices, binding)
    assert back.opacity_logits.tolist() == [-16, 16]


def test_bad_input_is_named() -> None:
    vertices, faces = mesh(0)
    with pytest.raises(ValueError, match="triangles must ascend"):
        make_binding(faces, torch.tensor([1, 0]), len(vertices))
    with pytest.raises(ValueError, match="triangles run from 0 to 40, faces 0 to 39"):
        make_binding(faces, torch.tensor([0, 40]), len(vertices))
    with pytest.raises(ValueError, match=r"faces run from \d+ to \d+, vertices 0 to 4"):
        make_binding(faces, torch.tensor([0]), 5)
    with pytest.raises(ValueError, match=r"must be \(F, 3\), \(N,\)"):
        make_binding(faces[:, :2], torch.tensor([0]), len(vertices))
    local, binding = bound(0, faces, vertices, count=5)
    with pytest.raises(ValueError, match=r"vertices must have shape \(24, 3\), got \(23, 3\)"):
        world_from_local(local, vertices[:-1], binding)
    other = make_binding(faces, torch.tensor([0, 1]), len(vertices))
    with pytest.raises(ValueError, match="5 Gaussians do not fit a binding of 2"):
        world_from_local(local, vertices, other)
    with pytest.raises(ValueError, match=r"LocalGaussians.log_scales must have shape \(5, 3\), got \(5, 2\)"):
        LocalGaussians(**{**vars(local), "log_scales": local.log_scales[:, :2]})
