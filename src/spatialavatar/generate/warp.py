"""The barycentric warp (§3.2): pictures and features are sampled where the UV pixels' surface points project to.

It has no parameters: where each UV pixel lies in each source picture follows from mesh, motion and camera.
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor


def warp(maps: Tensor, pixels: Tensor, size: int) -> Tensor:
    """Sample maps bilinearly; outside of them the border continues.

    Args:
        maps: (B, K, C, H, W) features or colours that cover the whole picture, at any resolution.
        pixels: (B, K, N, 2) x, y in pixels of a picture of `size` x `size`, pixel centres at + 0.5.
        size: See above.

    Returns:
        (B, K, C, N), differentiable in `maps`.
    """
    batch, sources, channels = maps.shape[:3]
    grid = (pixels * (2 / size) - 1).flatten(0, 1)[:, None]  # (B K, 1, N, 2)
    # In the grid's type: under automatic mixed precision features come in bfloat16.
    sampled = functional.grid_sample(
        maps.flatten(0, 1).to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.reshape(batch, sources, channels, -1)
