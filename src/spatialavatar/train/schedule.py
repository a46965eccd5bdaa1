"""How rates and temperatures go over the steps (§4.2, Tab. 7)."""

from __future__ import annotations

import math

from spatialavatar.train.config import DrawConfig, ScheduleConfig


def rate_factor(step: int, total: int, config: ScheduleConfig) -> float:
    """Factor on the base learning rate at a step (from 0) of `total`.

    The warm-up reaches 1 at step `warm_up_steps`; the fall begins there and ends `fall_steps` later, or at the end.
    """
    if step < config.warm_up_steps:
        return (step + 1) / (config.warm_up_steps + 1)
    if config.shape == "constant":
        return 1.0
    length = config.fall_steps if config.fall_steps is not None else total - config.warm_up_steps
    share = min(1.0, (step - config.warm_up_steps) / max(1, length))
    fallen = share if config.shape == "linear" else 0.5 * (1 - math.cos(math.pi * share))
    return 1.0 - (1.0 - config.final) * fallen


def temperature(step: int, total: int, config: DrawConfig) -> float:
    """The difficulty softmax's temperature: linear from start to end over the first share `annealed`, then constant."""
    share = min(1.0, step / max(1.0, config.annealed * total))
    return config.temperature_start + share * (config.temperature_end - config.temperature_start)
