"""The encoder a configuration asks for: pictures in, dense features and one global code each out."""

from __future__ import annotations

from torch import nn

from spatialavatar.generate.config import GeneratorConfig
from spatialavatar.generate.encoder_compact import CompactEncoder


def make_encoder(config: GeneratorConfig) -> nn.Module:
    """A module (M, 3, s, s), (M, 1, s, s) -> (M, C, h, w), (M, D)."""
    if config.encoder == "compact":
        return CompactEncoder(config.encoder_widths, config.feature_channels, config.code_channels)
    from spatialavatar.generate.encoder_dino import make_dino_encoder

    return make_dino_encoder(config)
