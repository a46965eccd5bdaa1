"""Adam on values that have a row for each frame of a video."""

from __future__ import annotations

import torch
from torch import Tensor


class FrameAdam:
    """Values with a leading dimension of T frames, of which one frame at a time is moved.

    Each frame has a count of its own, because frames are visited at different times: what Adam remembers of a frame is
    of that frame's own visits. Mutable on purpose.
    """

    def __init__(self, values: dict[str, Tensor]):
        self.values = values
        self.first = {name: torch.zeros_like(value) for name, value in values.items()}
        self.second = {name: torch.zeros_like(value) for name, value in values.items()}
        self.visits = torch.zeros(len(next(iter(values.values()))))

    def leaves(self, frame: int) -> dict[str, Tensor]:
        """Copies of a frame's rows, (1, K) each, that gather gradients."""
        return {name: value[frame : frame + 1].clone().requires_grad_() for name, value in self.values.items()}

    @torch.no_grad()
    def move(self, frame: int, leaves: dict[str, Tensor], rate: float) -> None:
        """One step on a frame from the gradients of its `leaves`; those without a gradient stay."""
        self.visits[frame] += 1
        part = slice(frame, frame + 1)
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                state = (self.values[name][part], self.first[name][part], self.second[name][part])
                adam_step_(*state, leaf.grad, int(self.visits[frame]), rate, 0.8, 0.95)

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
    value: Tensor, first: Tensor, second: Tensor, gradient: Tensor, count: int, rate: float, one: float, two: float
) -> None:
    """Adam's `count`-th step in place, with decays `one` and `two` of the mean gradient and of its square."""
    first.mul_(one).add_(gradient, alpha=1 - one)
    second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
    value.sub_(rate * (first / (1 - one**count)) / ((second / (1 - two**count)).sqrt() + 1e-9))
