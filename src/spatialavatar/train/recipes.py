"""How the shipped compact model is trained, on a CPU, in hours (ours; `config` holds the two phases of the paper).

What differs from the paper follows from the budget. Encoding costs several times what rendering does, so an item has
several targets; batches are small and rates higher, with a running mean of the weights in place of a long tail of
small rates; pictures are small. There is no LPIPS: its weights cannot be redistributed, and a recipe that needs a file
nobody can be given is none.
"""

from __future__ import annotations

from dataclasses import replace

from spatialavatar.generate.config import COMPACT
from spatialavatar.train.config import (
    DrawConfig,
    ImageConfig,
    LossConfig,
    OptimiserConfig,
    ScheduleConfig,
    TrainConfig,
    phase2,
)

EQUALISED = ("unet", "encoder", "heads", "residual")


def compact_phase1() -> TrainConfig:
    """Phase 1 of the compact model."""
    return TrainConfig(
        generator=COMPACT,
        loss=LossConfig(lpips=0.0, tv_of="offsets"),
        draw=DrawConfig(targets=3),
        image=ImageConfig(size=128, color_augmentation=1.0, source_shift=0.004),
        optimiser=OptimiserConfig(
            learning_rate=2e-3,
            equalised=EQUALISED,
            betas=(0.9, 0.99),
            schedule=ScheduleConfig(shape="cosine", final=0.05, fall_steps=None, warm_up_steps=100),
            average=0.995,
        ),
        steps=6_000,
        batch=1,
        checkpoint_every=100,
        validate_every=300,
        preview_every=150,
        log_every=10,
    )


def compact_phase2() -> TrainConfig:
    """Phase 2 of the compact model.

    Two things beside the cameras change. Pictures become larger: Gaussians that cover a face in 128 pixels leave gaps
    in 512, and are blurred there by the rasteriser's own low pass in ways that larger pictures do not share. And
    Phase 1's people stay, in two items of three: a network this small, on seventeen people, forgets at any rate at
    which it learns, however firmly its weights are anchored. The rate is a quarter of Phase 1's, for the encoder too.
    """
    first, paper = compact_phase1(), phase2()
    return replace(
        first,
        loss=replace(first.loss, shrinkage=paper.loss.shrinkage),
        draw=replace(first.draw, phase="multiview", rehearsal=0.65),
        image=replace(first.image, size=256, oversampling=(1, 2)),
        optimiser=replace(
            first.optimiser,
            kind="adamw",
            learning_rate=5e-4,
            anchor=paper.optimiser.anchor,
            schedule=ScheduleConfig(shape="cosine", final=0.0, fall_steps=None, warm_up_steps=50),
        ),
        steps=1_500,
    )
