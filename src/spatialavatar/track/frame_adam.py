"""Adam on values that have a row for each frame of a video."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class FrameAdam:
    """Values with a leading dimension of T frames, of which some at a time are moved.

    Each frame has a count of its own, because frames are visited at different times: what Adam remembers of a frame is
    of that frame's own visits. Mutable on purpose.
    """

    def __init__(self, values: dict[str, Tensor]):
        self.values = values
        self.first = {name: torch.zeros_like(value) for name, value in values.items()}
        self.second = {name: torch.zeros_like(value) for name, value in values.items()}
        self.visits = torch.zeros(len(next(iter(values.values()))))

    def leaves(self, frames: Sequence[int]) -> dict[str, Tensor]:
        """Copies of the rows of B different frames, (B, K) each, that gather gradients."""
        return {name: value[list(frames)].requires_grad_() for name, value in self.values.items()}

    @torch.no_grad()
    def move(self, frames: Sequence[int], leaves: dict[str, Tensor], rate: float) -> None:
        """One step on these frames from the gradients of their `leaves`; those without a gradient stay."""
        part = torch.tensor(frames)
        self.visits[part] += 1
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                value, first, second = self.values[name][part], self.first[name][part], self.second[name][part]
                adam_step_(value, first, second, leaf.grad, self.visits[part, None], rate, 0.8, 0.95)
                self.values[name][part], self.first[name][part], self.second[name][part] = value, first, second

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint must hold."""
        parts = {"value": self.values, "first": self.first, "second": self.second}
        named = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        return {**named, "visits": self.visits}

    def restore(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        for part, values in (("value", self.values), ("first", self.first), ("second", self.second)):
            for name, value in values.items():
                value.copy_(state[f"{part}.{name}"])
        self.visits.copy_(state["visits"])


def adam_step_(
    value: Tensor,
    first: Tensor,
    second: Tensor,
    gradient: Tensor,
    count: int | Tensor,
    rate: float,
    one: float,
    two: float,
) -> None:
    """Adam's `count`-th step in place, with decays `one` and `two` of the mean gradient and of its square.

    Args:
        count: Of all rows, or (B, 1) of each.
    """
    first.mul_(one).add_(gradient, alpha=1 - one)
    second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
    value.sub_(rate * (first / (1 - one**count)) / ((second / (1 - two**count)).sqrt() + 1e-9))
