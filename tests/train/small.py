"""Small trainings for tests: a painted subject or two in memory, and the small generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from spatialavatar.head.open_head import load_open_head
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.train.config import DrawConfig, ImageConfig, LossConfig, OptimiserConfig, ScheduleConfig, TrainConfig
from spatialavatar.train.engine import Training
from tests.generate.small import SMALL, layout
from tests.synthetic import subject


@dataclass(frozen=True)
class MemorySubject:
    """A subject as training wants it."""

    name: str
    cameras: tuple[TrackedSequence, ...]


@lru_cache(maxsize=4)
def painted(seed: int = 0, frames: int = 8) -> MemorySubject:
    """One painted head before one camera."""
    return MemorySubject(f"painted_{seed}", (subject(frames=frames, size=64, resolution=48, seed=seed).sequence,))


def turned(sequence: TrackedSequence, degrees: float) -> TrackedSequence:
    """The same frames as if seen from elsewhere (cameras only; the pictures stay): for tests of draws."""
    angle = torch.tensor(degrees).deg2rad()
    turn = torch.eye(4)
    turn[0, 0], turn[0, 2], turn[2, 0], turn[2, 2] = angle.cos(), angle.sin(), -angle.sin(), angle.cos()
    return replace(sequence, camera_from_world=sequence.camera_from_world @ turn)


@lru_cache(maxsize=1)
def surrounded() -> MemorySubject:
    """A subject with six synchronous cameras, 15 degrees apart."""
    (front,) = painted(frames=12).cameras
    return MemorySubject("surrounded", tuple(turned(front, 15.0 * i) for i in range(6)))


SMALL_TRAINING = TrainConfig(
    generator=SMALL,
    loss=LossConfig(lpips=0.0),
    draw=DrawConfig(most_sources=2),
    image=ImageConfig(size=64),
    optimiser=OptimiserConfig(
        learning_rate=2e-3,
        equalised=("unet", "encoder", "heads", "residual"),
        schedule=ScheduleConfig(shape="constant"),
    ),
    steps=8,
    batch=2,
    layout_resolution=48,
    checkpoint_every=3,
    validate_every=100,
    preview_every=4,
    log_every=1,
)


def training(config: TrainConfig = SMALL_TRAINING, **options: object) -> Training:
    """A small training on two painted heads."""
    return Training(config, (painted(0), painted(1)), load_open_head(), layout(), **options)  # type: ignore[arg-type]
