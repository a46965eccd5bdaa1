"""From K sources to one (§3.2): the mean, which has no parameters, is the identity at K = 1 and forgets the order."""

from __future__ import annotations

from torch import Tensor, nn

EVEN = 0.01
"""Added to every visibility, so that what no source sees is the plain mean."""


def mean_pool(maps: Tensor) -> Tensor:
    """(B, K, ...) -> (B, ...)."""
    return maps.mean(1)


def visibility_pool(maps: Tensor, visibility: Tensor) -> Tensor:
    """The mean of maps (B, K, C, N) weighted by visibility (B, K, N) -> (B, C, N); no parameters either."""
    weights = visibility + EVEN
    weights = weights / weights.sum(1, keepdim=True)
    return (maps * weights[:, :, None]).sum(1)


class AttentionPool(nn.Module):
    """Each pixel asks its K sources with one learned query (the ablation of Tab. 5 G)."""

    def __init__(self, channels: int):
        super().__init__()
        self.score = nn.Linear(channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, K, C, N) -> (B, C, N), the identity at K = 1, whatever the order."""
        weights = self.score(maps.transpose(2, 3))[..., 0].softmax(1)
        return (maps * weights[:, :, None]).sum(1)


class Pool(nn.Module):
    """The pool a configuration asks for, for UV maps and for global codes."""

    def __init__(self, name: str, channels: int, code_channels: int):
        super().__init__()
        self.name = name
        self.maps = AttentionPool(channels) if name == "attention" else None
        self.codes = AttentionPool(code_channels) if name == "attention" else None

    def forward(self, maps: Tensor, visibility: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, K, C, N), visibility (B, K, N), codes (B, K, D) -> (B, C, N) and (B, D)."""
        if self.maps is not None and self.codes is not None:
            return self.maps(maps), self.codes(codes[..., None])[..., 0]
        if self.name == "visibility":
            return visibility_pool(maps, visibility), mean_pool(codes)
        return mean_pool(maps), mean_pool(codes)
