"""The clamp holds its bounds and leaves alone what is within them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.refine.anti_spike import (
    clamp_log_scales_,
    inside_the_head,
    own_aspect_loss,
    scale_range,
    world_aspects,
)
from spatialavatar.refine.config import AntiSpike


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.1, 20.0))
def test_clamp_holds_range_and_spread(seed: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_scales = size * torch.randn(64, 3, generator=generator)
    footprint = torch.rand(64, generator=generator) + 0.01
    before = log_scales.clone()
    bounds = AntiSpike()
    inside = torch.arange(64) % 3 == 0
    low, high = scale_range(footprint, inside, bounds)
    clamp_log_scales_(log_scales, (low, high), bounds)
    # exp(log x) is x but for float32's rounding.
    torch.testing.assert_close(low.exp(), footprint * bounds.minimum_scale)
    torch.testing.assert_close(high.exp(), footprint * torch.tensor([2.5, 10.0, 10.0]).repeat(22)[:64])
    # 1e-4: float32 rounding of sums of numbers up to about 10.
    assert (log_scales >= low[:, None] - 1e-4).all()
    assert (log_scales <= high[:, None] + 1e-4).all()
    assert (log_scales.amax(1) - log_scales.amin(1)).max() <= bounds.spread + 1e-4
    order = before.clamp(min=low[:, None], max=high[:, None]).argsort(dim=1, stable=True)
    assert (torch.gather(log_scales, 1, order).diff(dim=1) >= -1e-4).all(), "the order of the axes is kept"


def test_clamp_leaves_what_is_inside_alone() -> None:
    log_scales = torch.tensor([[0.0, -1.0, 0.5]])
    expected = log_scales.clone()
    clamp_log_scales_(log_scales, scale_range(torch.ones(1), torch.tensor([False]), AntiSpike()), AntiSpike())
    # 1e-6: the mean is subtracted and added back in float32.
    torch.testing.assert_close(log_scales, expected, atol=1e-6, rtol=0)


def test_world_aspects() -> None:
    log_scales = torch.tensor([[0.0, math.log(8.0), 1.0]])
    torch.testing.assert_close(world_aspects(log_scales), torch.tensor([8.0]))


def test_own_aspect_loss_against_plain_loops() -> None:
    """In float64, with discs, needles and axes below the floor among them."""
    generator = torch.Generator().manual_seed(3)
    log_scales = (torch.randn(50, 3, generator=generator) * 1.5).double()
    footprint = torch.rand(50, generator=generator).double() + 0.5
    bounds = AntiSpike(minimum_scale=0.1, own_aspect_threshold=math.log(5.0))
    total = 0.0
    for logs, size in zip(log_scales.tolist(), footprint.tolist(), strict=True):
        axes = [max(math.exp(value), 0.1 * size) for value in logs]
        total += max(0.0, math.log(max(axes) / min(axes)) - math.log(5.0))
    assert total > 0
    assert float(own_aspect_loss(log_scales, footprint, bounds)) == pytest.approx(total / 50, rel=1e-12)


def test_own_aspect_loss_pulls_long_axes_in_and_leaves_to_the_clamp_what_is_too_thin() -> None:
    log_scales = torch.tensor([[2.5, 0.0, 0.0], [0.0, 0.0, -9.0], [1.0, 0.5, 0.0]], requires_grad=True)
    own_aspect_loss(log_scales, torch.ones(3), AntiSpike(minimum_scale=0.01)).backward()
    assert log_scales.grad is not None
    needle, too_thin, fine = log_scales.grad
    assert needle[0] > 0 and needle.sum() == pytest.approx(0, abs=1e-7)
    assert too_thin[2] == 0 and too_thin[0] + too_thin[1] > 0
    assert not fine.any()


def test_teeth_are_inside_the_head_and_ears_are_not() -> None:
    head = load_open_head()
    layout = build_uv_layout(head, 48)
    inside = inside_the_head(head, layout)
    names = {head.part_names[int(part)] for part in head.part_of_face[layout.triangles][inside]}
    assert {"upper_teeth", "tongue", "left_eye", "mouth_socket"} <= names and "skin" not in names
    assert 0.02 < float(inside.float().mean()) < 0.5
