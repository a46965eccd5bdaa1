import dataclasses

import numpy as np
import pytest
import torch

from spatialavatar.head import Head, Motion, load_flame
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from tests.head.synthetic import EXPRESSIONS, VERTICES, flame_arrays, write
from tests.oracles import skinning


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Head:
    path = tmp_path_factory.mktemp("flame") / "model.npz"
    write(path, flame_arrays())
    return load_flame(path)


def random_motion(batch: int, expressions: int = EXPRESSIONS, dtype=torch.float32) -> Motion:
    generator = torch.Generator().manual_seed(3)
    neutral = Motion.neutral(batch, expressions, dtype=dtype)
    fields = {f.name: getattr(neutral, f.name) for f in dataclasses.fields(Motion)}
    values = {n: 0.5 * torch.randn(v.shape, generator=generator, dtype=dtype) for n, v in fields.items()}
    return Motion(**{**values, "neck_translation": torch.zeros(batch, 3, dtype=dtype)})


def random_identity(count: int = 300, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(4), dtype=dtype)


def test_agrees_with_body_models_on_the_same_file(tmp_path):
    body_models = pytest.importorskip("body_models.flame.torch", reason="body-models needs Python 3.11")
    path = tmp_path / "model.npz"
    write(path, flame_arrays())
    motion, identity = random_motion(6), random_identity()
    other = body_models.FLAME(model_path=path)
    joints = [motion.neck_rotation, motion.jaw_rotation, motion.eyes_rotation[:, :3], motion.eyes_rotation[:, 3:]]
    expected = other.forward_vertices(
        torch.stack(joints, dim=1),
        head_rotation=motion.global_rotation,
        shape=identity.expand(6, -1),
        expression=motion.expression,
    )
    found = load_flame(path).pose(identity, motion) - motion.translation[:, None]
    # Both work in float32 on coordinates below a metre.
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=0, atol=1e-5)


def test_agrees_with_the_slow_oracle(head):
    double = head.to(torch.float64)
    # In float32 the weights' sums are off by a rounding, which scales the translation here and not in the oracle.
    weights = double.skinning_weights / double.skinning_weights.sum(dim=1, keepdim=True)
    double = dataclasses.replace(double, skinning_weights=weights)
    motion, identity = random_motion(3, dtype=torch.float64), random_identity(dtype=torch.float64)
    found = double.pose(identity, motion).numpy()
    directions = torch.cat([double.identity_basis, double.expression_basis]).numpy()
    for frame in range(3):
        rotations = [motion.global_rotation, motion.neck_rotation, motion.jaw_rotation]
        rotations += [motion.eyes_rotation[:, :3], motion.eyes_rotation[:, 3:]]
        expected = skinning.pose(
            double.template.numpy(),
            directions,
            torch.cat([identity, motion.expression[frame]]).numpy(),
            double.pose_correctives.numpy(),
            double.joint_regressor.numpy(),
            double.joint_parents,
            double.skinning_weights.numpy(),
            np.stack([rotation[frame].numpy() for rotation in rotations]),
            motion.translation[frame].numpy(),
        )
        # The same sums in another order, in float64.
        np.testing.assert_allclose(found[frame], expected, rtol=0, atol=1e-12)


def test_prepared_identity_gives_the_same(head):
    motion, identity = random_motion(2), random_identity(40)
    torch.testing.assert_close(head.pose(head.prepare_identity(identity), motion), head.pose(identity, motion))
    padded = torch.cat([identity, torch.zeros(260)])
    # Sums of 40 and of 300 terms round differently.
    torch.testing.assert_close(head.pose(padded, motion), head.pose(identity, motion), rtol=0, atol=1e-6)


def test_restricted_rig_gives_some_of_the_vertices(head):
    chosen = torch.tensor([5, 0, 17])
    motion, identity = random_motion(2), random_identity()
    expected = head.pose(identity, motion)[:, chosen]
    torch.testing.assert_close(head.restrict(chosen).pose(identity, motion), expected, rtol=0, atol=1e-6)


def test_gradients_against_finite_differences(head):
    rig = head.to(torch.float64).restrict(torch.arange(0, VERTICES, 9))
    names = [field.name for field in dataclasses.fields(Motion)]
    motion = random_motion(1, dtype=torch.float64)
    values = [getattr(motion, name).requires_grad_() for name in names]
    identity = random_identity(6, torch.float64).requires_grad_()
    pose = lambda identity, *values: rig.pose(identity, Motion(*values))  # noqa: E731
    assert torch.autograd.gradcheck(pose, (identity, *values))


def test_gradients_at_rest_are_finite(head):
    motion = Motion.neutral(1, EXPRESSIONS)
    leaves = {f.name: getattr(motion, f.name).requires_grad_() for f in dataclasses.fields(Motion)}
    head.pose(torch.zeros(2), Motion(**leaves)).square().sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None and torch.isfinite(leaf.grad).all(), name


def test_global_rotation_turns_everything_about_the_root(head):
    motion = dataclasses.replace(random_motion(1), global_rotation=torch.zeros(1, 3), translation=torch.zeros(1, 3))
    turned = dataclasses.replace(motion, global_rotation=torch.tensor([[0.3, -0.8, 0.5]]))
    prepared = head.prepare_identity(random_identity())
    root = prepared.joints[0] + (head.rig.joint_expression_basis[:, 0] * motion.expression[0, :, None]).sum(dim=0)
    matrix = rotation_matrix_from_axis_angle(turned.global_rotation[0])
    expected = (head.pose(prepared, motion) - root) @ matrix.T + root
    torch.testing.assert_close(head.pose(prepared, turned), expected, rtol=0, atol=1e-6)


def test_translation_shifts_everything(head):
    motion = random_motion(2)
    shifted = dataclasses.replace(motion, translation=motion.translation + torch.tensor([0.1, 0.2, 0.3]))
    difference = head.pose(random_identity(), shifted) - head.pose(random_identity(), motion)
    torch.testing.assert_close(difference, torch.tensor([0.1, 0.2, 0.3]).expand_as(difference), rtol=0, atol=1e-6)


def test_neck_translation_shifts_the_head_on_the_body(head):
    still = Motion.neutral(1, EXPRESSIONS)
    moved = dataclasses.replace(still, neck_translation=torch.tensor([[0.01, 0.02, 0.03]]))
    difference = (head.pose(torch.zeros(1), moved) - head.pose(torch.zeros(1), still))[0]
    above_the_root = 1 - head.skinning_weights[:, :1]
    torch.testing.assert_close(difference, above_the_root * moved.neck_translation, rtol=0, atol=1e-6)


def test_wrong_number_of_expressions_or_identities_is_an_error(head):
    with pytest.raises(ValueError, match="52 expressions"):
        head.pose(torch.zeros(1), Motion.neutral(1, 52))
    with pytest.raises(ValueError, match="identity"):
        head.prepare_identity(torch.zeros(301))
