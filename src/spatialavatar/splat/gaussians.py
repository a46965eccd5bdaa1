"""3D Gaussians in world coordinates, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class WorldGaussians:
    """3D Gaussians in the world frame.

    Gaussians with a value that is not finite, or with an opacity below 1/255, are skipped by the renderer.
    """

    positions: Tensor
    """(N, 3), metres."""
    quaternions_wxyz: Tensor
    """(N, 4), need not be normalised."""
    scales: Tensor
    """(N, 3), standard deviations along the rotated axes, metres, positive (not logarithms)."""
    opacities: Tensor
    """(N,), in [0, 1]."""
    colors: Tensor
    """(N, C), sRGB-encoded in [0, 1] for pictures; any C >= 1 for other things."""

    def __post_init__(self) -> None:
        """Raises ValueError when a shape is wrong or the tensors disagree in dtype or device."""
        count = self.positions.shape[0] if self.positions.dim() else -1
        expected = {
            "positions": (count, 3),
            "quaternions_wxyz": (count, 4),
            "scales": (count, 3),
            "opacities": (count,),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"WorldGaussians.{name} must have shape {shape}, got {found}")
        if self.colors.dim() != 2 or self.colors.shape[0] != count or self.colors.shape[1] < 1:
            raise ValueError(f"WorldGaussians.colors must have shape ({count}, C >= 1), got {tuple(self.colors.shape)}")
        kinds = {field.name: getattr(self, field.name) for field in fields(self)}
        if len({(tensor.dtype, tensor.device) for tensor in kinds.values()}) != 1:
            listing = ", ".join(f"{name} {tensor.dtype} on {tensor.device}" for name, tensor in kinds.items())
            raise ValueError(f"WorldGaussians needs one dtype and one device, got {listing}")
        if not self.positions.dtype.is_floating_point:
            raise ValueError(f"WorldGaussians needs floating-point tensors, got {self.positions.dtype}")

    def __len__(self) -> int:
        return self.positions.shape[0]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> WorldGaussians:
        """Copy on another device, or with another floating-point type."""
        return WorldGaussians(*(getattr(self, field.name).to(device=device, dtype=dtype) for field in fields(self)))

    def detach(self) -> WorldGaussians:
        """The same values outside of the autograd graph."""
        return WorldGaussians(*(getattr(self, field.name).detach() for field in fields(self)))

    def __getitem__(self, index: slice | Tensor) -> WorldGaussians:
        """A subset, by slice, index tensor or boolean mask over the Gaussians."""
        return WorldGaussians(*(getattr(self, field.name)[index] for field in fields(self)))
