"""Total variation of a geometry map over the UV grid (Eq. 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spatialavatar.head.uv import UVLayout


@dataclass(frozen=True)
class GridNeighbours:
    """Pairs of valid UV pixels that touch: each pixel and the one to its right, each pixel and the one below.

    Pixels that touch only on the grid (two islands side by side) are pairs too, as in the paper's plain grid TV.
    """

    right: Tensor
    """(2, M) int64 indices into the layout."""
    below: Tensor
    """(2, L) int64."""
    count: int
    """N, the number of valid pixels."""

    def to(self, device: torch.device | str) -> GridNeighbours:
        return GridNeighbours(self.right.to(device), self.below.to(device), self.count)


def grid_neighbours(layout: UVLayout) -> GridNeighbours:
    """The pairs of a layout; both pixels are valid in each."""
    index = torch.full((layout.resolution, layout.resolution), -1, dtype=torch.long)
    index[layout.rows.cpu(), layout.columns.cpu()] = torch.arange(len(layout))

    def pairs(first: Tensor, second: Tensor) -> Tensor:
        both = (first >= 0) & (second >= 0)
        return torch.stack([first[both], second[both]])

    return GridNeighbours(pairs(index[:, :-1], index[:, 1:]), pairs(index[:-1], index[1:]), len(layout))


def total_variation(values: Tensor, neighbours: GridNeighbours) -> Tensor:
    """(B,) mean over the N valid pixels of |d/du| + |d/dv|, absolute values summed over channels.

    Args:
        values: (B, N, C) in the layout's order.
        neighbours: Of that layout; a pixel without a valid neighbour in a direction adds nothing for it.
    """
    total = values.new_zeros(len(values))
    for first, second in (neighbours.right, neighbours.below):
        difference = values.index_select(1, first) - values.index_select(1, second)
        total = total + difference.abs().sum(dim=(1, 2))
    return total / neighbours.count
