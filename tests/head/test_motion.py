import dataclasses

import pytest
import torch

from spatialavatar.head import Motion


def random_motion(batch: int, expressions: int = 5) -> Motion:
    generator = torch.Generator().manual_seed(batch)
    neutral = Motion.neutral(batch, expressions)
    fields = {f.name: getattr(neutral, f.name) for f in dataclasses.fields(Motion)}
    return Motion(**{name: torch.randn(value.shape, generator=generator) for name, value in fields.items()})


def test_indexing_keeps_the_batch_dimension():
    motion = random_motion(4)
    assert len(motion[1]) == 1 and len(motion[1:3]) == 2 and len(motion[torch.tensor([0, 3, 3])]) == 3
    torch.testing.assert_close(motion[-1].jaw_rotation, motion.jaw_rotation[3:])
    assert [len(frame) for frame in motion] == [1, 1, 1, 1]
    with pytest.raises(IndexError):
        motion[4]


def test_cat_undoes_slicing():
    motion = random_motion(5)
    back = Motion.cat([motion[:2], motion[2], motion[3:]])
    for field in dataclasses.fields(Motion):
        torch.testing.assert_close(getattr(back, field.name), getattr(motion, field.name))


def test_condition_is_what_the_residual_head_sees():
    motion = random_motion(2, expressions=7)
    condition = motion.condition()
    assert condition.shape == (2, 7 + 12)
    torch.testing.assert_close(condition[:, 7:10], motion.global_rotation)
    torch.testing.assert_close(condition[:, 13:], motion.eyes_rotation)


def test_wrong_shapes_are_named():
    motion = random_motion(2)
    with pytest.raises(ValueError, match="jaw_rotation must have the shape"):
        dataclasses.replace(motion, jaw_rotation=torch.zeros(3, 3))
    with pytest.raises(ValueError, match="expression"):
        dataclasses.replace(motion, expression=torch.zeros(3))


def test_moves_to_another_type():
    assert random_motion(2).to(torch.float64).expression.dtype == torch.float64
