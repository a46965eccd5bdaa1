"""How far along its cosine a refinement is: by iterations, by time, or because the loss stopped falling."""

from __future__ import annotations

from collections.abc import Sequence

from spatialavatar.refine.config import RefineConfig

PLATEAU_WINDOW = 500
PLATEAU_GAIN = 0.005
"""A window that lowers the mean loss by less than this share is the plateau."""
COOL_DOWN = 500
"""Iterations over which the rates fall to their end once a plateau is met."""


def is_plateau(config: RefineConfig, iteration: int, losses: Sequence[float]) -> bool:
    """Whether the last window of iterations hardly lowered the loss; looked at once a window, and not too early."""
    window = PLATEAU_WINDOW
    late = iteration >= config.anti_spike.freeze_iterations + 2 * window
    if not config.until_plateau or not late or iteration % window:
        return False
    return sum(losses[-window:]) > (1 - PLATEAU_GAIN) * sum(losses[-2 * window : -window])


def fraction_after(
    config: RefineConfig, iteration: int, seconds: float, cool_down: tuple[int, float] | None = None
) -> float:
    """How far along the cosine a run is; over from 1 on.

    Args:
        config: The run's numbers.
        iteration: Iterations done.
        seconds: Time spent on them, those of resumed runs added up.
        cool_down: Iteration and fraction at which a plateau was met.
    """
    fraction = iteration / config.iterations
    if config.minutes is not None:
        fraction = max(fraction, seconds / (60 * config.minutes))
    if cool_down is not None:
        since, then = cool_down
        fraction = max(fraction, then + (1 - then) * (iteration - since) / COOL_DOWN)
    return fraction
