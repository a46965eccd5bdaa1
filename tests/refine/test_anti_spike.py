"""The clamp holds its bounds and leaves alone what is within them."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialavatar.refine.anti_spike import clamp_log_scales_, world_aspects
from spatialavatar.refine.config import AntiSpike


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.1, 20.0))
def test_clamp_holds_range_and_spread(seed: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_scales = size * torch.randn(64, 3, generator=generator)
    footprint = torch.rand(64, generator=generator) + 0.01
    before = log_scales.clone()
    bounds = AntiSpike()
    clamp_log_scales_(log_scales, footprint, bounds)
    low, high = (footprint * bounds.minimum_scale).log(), (footprint * bounds.maximum_scale).log()
    # 1e-4: float32 rounding of sums of numbers up to about 10.
    assert (log_scales >= low[:, None] - 1e-4).all()
    assert (log_scales <= high[:, None] + 1e-4).all()
    assert (log_scales.amax(1) - log_scales.amin(1)).max() <= bounds.spread + 1e-4
    order = before.clamp(min=low[:, None], max=high[:, None]).argsort(dim=1, stable=True)
    assert (torch.gather(log_scales, 1, order).diff(dim=1) >= -1e-4).all(), "the order of the axes is kept"


def test_clamp_leaves_what_is_inside_alone() -> None:
    log_scales = torch.tensor([[0.0, -1.0, 0.5]])
    expected = log_scales.clone()
    clamp_log_scales_(log_scales, torch.ones(1), AntiSpike())
    # 1e-6: the mean is subtracted and added back in float32.
    torch.testing.assert_close(log_scales, expected, atol=1e-6, rtol=0)


def test_world_aspects() -> None:
    log_scales = torch.tensor([[0.0, math.log(8.0), 1.0]])
    torch.testing.assert_close(world_aspects(log_scales), torch.tensor([8.0]))
