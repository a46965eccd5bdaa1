"""`spatialavatar train`: Stage 1's training in two phases, and the file that comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Union

from tyro import MISSING
from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from spatialavatar.cli.run import say
from spatialavatar.errors import UserError
from spatialavatar.products import check_output, claim_folder
from spatialavatar.text import shell_quoted
from spatialavatar.train.config import TrainConfig, phase1, phase2
from spatialavatar.train.recipes import compact_phase1, compact_phase2


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Begin a training in a new folder."""

    data: Annotated[tuple[Path, ...], arg(metavar="FOLDER", help_behavior_hint="(required)")]
    """Sets to train on: made by `spatialavatar synth`, or any folder of tracked folders."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="RUN", help_behavior_hint="(required)")]
    """The run's folder, made new."""
    held_out: Annotated[tuple[Path, ...], arg(metavar="FOLDER", help_behavior_hint="")] = ()
    """Sets to score on while training, of people who are in none of the others."""
    most_held_out: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """From each of them at most so many people."""
    start: Annotated[Path | None, arg(metavar="RUN|FILE", help_behavior_hint="")] = None
    """Run or generator to start from; for Phase 2 that of Phase 1. shipped: the model that comes with the package."""
    head: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """The head's file, where it is not the built-in one."""
    until: Annotated[int | None, arg(metavar="STEP", help_behavior_hint="")] = None
    """Stop after this step, to be resumed later."""
    threads: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Threads on the CPU."""
    config: TrainConfig = field(default_factory=TrainConfig)
    """Every number of the training."""

    def run(self) -> None:
        from spatialavatar.progress import Rich
        from spatialavatar.train.run import train

        _use_threads(self.threads)
        claim_folder(self.output, "train", self.data)
        try:
            train(
                self.config,
                self.output,
                self.data,
                held_out=self.held_out,
                most_held_out=self.most_held_out,
                start=_start(self.start),
                head=self.head,
                until=self.until,
                progress=Rich(),
            )
        except KeyboardInterrupt as stopped:
            say(_kept(self.output, stopped))
            raise
        _say_done(self.output)


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on with a run that was stopped or killed, to the same numbers."""

    run_folder: Positional[Annotated[Path, arg(metavar="RUN")]]
    """The run's folder."""
    until: Annotated[int | None, arg(metavar="STEP", help_behavior_hint="")] = None
    """Stop after this step."""
    threads: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Threads on the CPU."""

    def run(self) -> None:
        from spatialavatar.progress import Rich
        from spatialavatar.train.run import resume

        _use_threads(self.threads)
        try:
            resume(self.run_folder, until=self.until, progress=Rich())
        except KeyboardInterrupt as stopped:
            say(_kept(self.run_folder, stopped))
            raise
        _say_done(self.run_folder)


@dataclass(frozen=True, kw_only=True)
class Ship:
    """Write a run's generator as the small file that the package ships: float16, one safetensors."""

    run_folder: Positional[Annotated[Path, arg(metavar="RUN")]]
    """The run's folder."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="NAME.safetensors", help_behavior_hint="(required)")]
    """Where to write it."""
    last: bool = False
    """The generator at the run's end, in place of the one that scored best on the held-out set."""

    def run(self) -> None:
        from spatialavatar.train.ship import ship

        check_output(self.output, [])
        written = ship(self.run_folder, self.output, last=self.last)
        say(f"Generator: {self.output} ({written.size_mb:.1f} MB, {written.steps} steps)")
        for name, value in written.scores.items():
            say(f"  {name}: {value:.2f}")


def _start(named: Path | None) -> Path | None:
    """The file or folder that --start names."""
    from spatialavatar.generate.checkpoint import shipped_generator

    if named != Path("shipped"):
        return named
    found = shipped_generator()
    if found is None:
        raise UserError("this package comes without a trained generator.", hint="Train Phase 1 first.")
    return found


def _begin(config: TrainConfig) -> Begin:
    return Begin(data=MISSING, output=MISSING, config=config)


# The paper's numbers are the defaults of the first two; the others are how the shipped model was trained.
Action = Union[  # noqa: UP007 (tyro reads the annotations of a Union)
    Annotated[Begin, subcommand("phase1", default=_begin(phase1()))],
    Annotated[Begin, subcommand("phase2", default=_begin(phase2()))],
    Annotated[Begin, subcommand("compact-phase1", default=_begin(compact_phase1()))],
    Annotated[Begin, subcommand("compact-phase2", default=_begin(compact_phase2()))],
    Annotated[Resume, subcommand("resume")],
    Annotated[Ship, subcommand("ship")],
]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train Stage 1's generator: portraits in, an avatar out in one pass.

    phase1, phase2                    the paper's two phases, with the paper's numbers
    compact-phase1, compact-phase2    how the shipped compact model is trained, on a CPU
    resume                            go on with a stopped run, to the same numbers
    ship                              write a run's generator as one small file

    Many processes: torchrun --nproc-per-node 2 -- $(which spatialavatar) train ... Every ablation: docs/training.md

    For example:
        spatialavatar train compact-phase1 --data sets/monocular --held-out sets/held_out -o runs/one
        spatialavatar train compact-phase2 --data sets/multiview sets/monocular --start runs/one -o runs/two
        spatialavatar train ship runs/two -o compact.safetensors
    """

    action: OmitSubcommandPrefixes[Action]
    verbose: Annotated[bool, arg(aliases=["-v"], help_behavior_hint="")] = False
    """Say more, and show where an error came from."""

    def run(self) -> int | None:
        self.action.run()
        return None


def _kept(folder: Path, stopped: KeyboardInterrupt) -> str:
    """What to say after a stop: what is kept, and how to go on from it."""
    from spatialavatar.interrupts import Stopped
    from spatialavatar.train import run_folder

    go_on = f"Go on with: spatialavatar train resume {shell_quoted(folder)}"
    if isinstance(stopped, Stopped):
        return f"Stopped; nothing is lost. {go_on}"
    if (folder / run_folder.CHECKPOINT).exists():
        return f"Stopped; the last checkpoint is kept. {go_on}"
    if (folder / run_folder.CONFIG).exists():
        return f"Stopped before there was a checkpoint: the run will start anew. {go_on}"
    return "Stopped before the run was begun: give the same command again."


def _use_threads(count: int | None) -> None:
    if count is not None:
        from spatialavatar.splat.threads import set_threads

        set_threads(count)


def _say_done(folder: Path) -> None:
    say(f"Run:       {folder}")
    say(f"Next:      spatialavatar train ship {shell_quoted(folder)} -o compact.safetensors")
