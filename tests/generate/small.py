"""Small generators for tests: the presets' structure at a quarter of their size."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch

from spatialavatar.generate.config import COMPACT, GeneratorConfig
from spatialavatar.generate.generator import Generator
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import UVLayout, build_uv_layout
from tests.synthetic import Subject, subject

SMALL = replace(
    COMPACT,
    image_size=64,
    encoder_size=64,
    layout_resolution=48,
    canvas_resolution=24,
    encoder_widths=(8, 8, 12, 16),
    unet_widths=(8, 12, 16),
    feature_channels=8,
    code_channels=16,
    style_channels=16,
    map_channels=8,
)


@lru_cache(maxsize=1)
def layout() -> UVLayout:
    return build_uv_layout(load_open_head(), 48)


@lru_cache(maxsize=1)
def person() -> Subject:
    """Five frames of a painted head that turns from side to side."""
    return subject(frames=5, size=96, resolution=48)


def small_generator(config: GeneratorConfig = SMALL, seed: int = 0, trained: bool = False) -> Generator:
    """A generator with fixed random weights; `trained` gives the zero-initialised layers random weights, too."""
    torch.manual_seed(seed)
    generator = Generator(config, load_open_head(), layout())
    if trained:
        with torch.no_grad():
            for parameter in generator.parameters():
                if not bool(parameter.any()):
                    parameter.normal_(std=0.1)
    return generator.eval()


CONDITION = 52 + 12
FRONT = torch.tensor([[0.0, 0.0, -1.0]])
