"""Time Stage 1's generator: tracked pictures to avatar, and one training step without the rasteriser.

    python benchmarks/generator.py me.tracked                          # compact, K = 1
    python benchmarks/generator.py me.tracked --sources 4 --threads 2
    python benchmarks/generator.py me.tracked --preset paper           # DINOv3's structure with random weights
    python benchmarks/generator.py me.tracked --device cuda

Two figures each, the least of the repeats: wall-clock time, and the processor's time over all threads, which neighbours
on a shared machine disturb less. Times do not depend on what the weights are, so DINO's are not needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import spatialavatar  # noqa: F401  (before torch: it sets how torch's threads wait)

# isort: split
import torch
import tyro

from spatialavatar.files import write_json
from spatialavatar.generate import encoder_dino
from spatialavatar.generate.config import PRESETS
from spatialavatar.generate.feed_forward import generate_avatar
from spatialavatar.generate.generator import Generator
from spatialavatar.generate.view_code import view_direction
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.memory import peak_memory_mb
from spatialavatar.sequence.folder import read_sequence


@dataclass(frozen=True)
class Options:
    """What to time."""

    folder: tyro.conf.Positional[Path]
    """A tracked folder; its first frames are the sources."""
    preset: Literal["compact", "paper"] = "compact"
    """Which generator, untrained."""
    sources: int = 1
    """K."""
    threads: int = 1
    """Of torch."""
    device: str = "cpu"
    """Where the network runs."""
    repeats: int = 5
    """The least of so many."""
    json: Path | None = None
    """Also write the numbers here."""


def random_backbone(name: str, weights: str = "") -> Any:
    """DINOv3 as it would be loaded, with random weights."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    size = encoder_dino.SIZES[name[-1]]
    config = DINOv3ViTConfig(**size, intermediate_size=4 * size["hidden_size"], num_register_tokens=4)
    return DINOv3ViTModel(config).eval()


def least(work: Callable[[], object], repeats: int, device: str) -> dict[str, float]:
    """Milliseconds: the least wall-clock and the least processor time."""
    wall, processor = [], []
    for _ in range(repeats + 1):  # the first one warms up
        before, before_processor = time.perf_counter(), time.process_time()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        wall.append(time.perf_counter() - before)
        processor.append(time.process_time() - before_processor)
    return {"wall_ms": round(1000 * min(wall[1:]), 1), "processor_ms": round(1000 * min(processor[1:]), 1)}


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    encoder_dino.load_backbone = random_backbone
    head = load_open_head()
    config = PRESETS[options.preset]
    generator = Generator(config, head, build_uv_layout(head, config.layout_resolution)).eval().to(options.device)
    sequence = read_sequence(options.folder)
    frames = list(range(options.sources))
    sources = generator.prepare([(sequence, frame) for frame in frames])
    on_device = sources.to(options.device)
    view = view_direction(sequence.camera_from_world[:1]).to(options.device)
    condition = sequence.motion[0].condition().to(options.device)

    def forward() -> None:
        with torch.no_grad():
            generator(on_device, view, condition)

    def step() -> None:
        output = generator(on_device, view, condition)
        sum(getattr(output.local, item.name).sum() for item in fields(output.local)).backward()

    numbers: dict[str, Any] = {
        "preset": options.preset,
        "sources": options.sources,
        "threads": options.threads,
        "device": options.device,
        "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in generator.named_children()},
        "trainable": sum(p.numel() for p in generator.parameters() if p.requires_grad),
    }
    work: dict[str, Callable[[], object]] = {
        "tracked pictures to avatar": lambda: generate_avatar(sequence, generator, frames),
        "preparing the sources": lambda: generator.prepare([(sequence, frame) for frame in frames]),
        "forward": forward,
        "training step": step,
    }
    for name, call in work.items():
        numbers[name] = least(call, options.repeats, options.device)
        print(f"{name:28} {numbers[name]}", flush=True)
    numbers["peak_memory_mb"] = peak_memory_mb()
    print({key: numbers[key] for key in ("parameters", "trainable", "peak_memory_mb")})
    if options.json is not None:
        write_json(options.json, numbers)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
