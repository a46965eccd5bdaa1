"""3D Gaussians in the frames of the triangles they are bound to: what an avatar stores."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LocalGaussians:
    """3D Gaussians in triangle frames (§3.1), in the order of the UV layout's pixels.

    Lengths are in units of the triangle's scale, so that an avatar fits heads of any size.
    """

    positions: Tensor
    """(N, 3) in the triangle's frame, units of the triangle's scale."""
    quaternions_wxyz: Tensor
    """(N, 4), need not be normalised."""
    log_scales: Tensor
    """(N, 3) natural logarithms of the standard deviations, units of the triangle's scale."""
    opacity_logits: Tensor
    """(N,), opacity = sigmoid(logit)."""
    colors: Tensor
    """(N, 3) sRGB-encoded, in [0, 1]."""

    def __post_init__(self) -> None:
        """Raises ValueError when a shape is wrong."""
        count = self.positions.shape[0] if self.positions.dim() else -1
        expected = {
            "positions": (count, 3),
            "quaternions_wxyz": (count, 4),
            "log_scales": (count, 3),
            "opacity_logits": (count,),
            "colors": (count, 3),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"LocalGaussians.{name} must have shape {shape}, got {found}")

    def __len__(self) -> int:
        return self.positions.shape[0]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> LocalGaussians:
        """Copy on another device, or with another floating-point type."""
        return LocalGaussians(*(getattr(self, field.name).to(device=device, dtype=dtype) for field in fields(self)))

    def detach(self) -> LocalGaussians:
        """The same values outside of the autograd graph."""
        return LocalGaussians(*(getattr(self, field.name).detach() for field in fields(self)))
