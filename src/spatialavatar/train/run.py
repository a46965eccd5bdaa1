"""A training from folders on disk: what the command line calls."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.load import load_head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.sets import SetSubject, read_set
from spatialavatar.splat.lpips import load_lpips
from spatialavatar.train import run_folder
from spatialavatar.train.config import TrainConfig, as_json, from_json
from spatialavatar.train.engine import Run, Training, start_weights
from spatialavatar.train.objective import PerceptualLoss
from spatialavatar.train.processes import Processes, started
from spatialavatar.train.run_folder import RunFolder


def read_subjects(roots: Sequence[Path], most: int | None = None) -> list[SetSubject]:
    """The people of some sets, in order.

    Args:
        roots: Folders of sets.
        most: From each set at most so many.

    Raises:
        UserError: See `read_set`; or no folder was given.
    """
    if not roots:
        raise UserError("no set was given to train on.", hint="Name one or more folders with --data.")
    return [subject for root in roots for subject in read_set(root).subjects[:most]]


def train(
    config: TrainConfig,
    output: Path,
    data: Sequence[Path],
    *,
    held_out: Sequence[Path] = (),
    most_held_out: int | None = None,
    start: Path | None = None,
    head: Path | None = None,
    resume: bool = False,
    until: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Run a training, or go on with it, in one process or in as many as torchrun started.

    Args:
        config: Everything.
        output: The run's folder.
        data: Sets to train on.
        held_out: Sets to score on; nobody in them may be in `data`.
        most_held_out: From each of them at most so many people, to keep scoring short.
        start: Run's folder or generator's file to start from: Phase 1's, for Phase 2.
        head: The head's file; the built-in one by default.
        resume: Go on from the folder's checkpoint, or begin again where it was stopped before there was one.
        until: Stop after this step; the schedule stays that of the whole run.
        progress: Where to say how far it is.

    Returns:
        The run's folder.

    Raises:
        UserError: Something about the folders, the configuration or the checkpoint.
        Stopped: It was stopped between two steps; everything is saved.
        KeyboardInterrupt: It was stopped before the first step, or twice; the last checkpoint stands.
    """
    loaded: Head = load_open_head() if head is None else load_head(head)
    layout = build_uv_layout(loaded, config.layout_resolution)
    if config.generator.layout_resolution != config.layout_resolution:
        config = replace(config, generator=replace(config.generator, layout_resolution=config.layout_resolution))
    subjects, people = read_subjects(data), read_subjects(held_out, most_held_out) if held_out else []
    folder = RunFolder(output)
    with started() as processes, folder.for_this_run_alone() if processes.first else contextlib.nullcontext():
        shown = progress if progress is not None and processes.first else Silent()
        perceptual, reason = _perceptual(config, processes)
        if processes.first and not resume:
            folder.create()
        processes.wait()
        # A run that was stopped before its first checkpoint begins again, with what its config.json says.
        goes_on = resume and folder.file(run_folder.CHECKPOINT).exists()
        if resume and not goes_on:
            shown.note("There is no checkpoint to go on from yet: the run starts anew.")
        if perceptual is None and config.loss.lpips:
            shown.note(f"Training goes on without LPIPS: {reason}")
        weights = start_weights(start, config, loaded, layout) if start is not None and not goes_on else None
        training = Training(
            config,
            subjects,
            loaded,
            layout,
            processes=processes,
            perceptual=perceptual,
            start=weights,
            resumed=goes_on,
        )
        run = Run(training, folder, people, _record(training, data, held_out, start, reason), shown)
        if goes_on:
            run.resume()
            shown.note(f"Going on from step {training.step}.")
        elif processes.first:
            folder.forget_after(0)
            if not resume:
                folder.write(run_folder.CONFIG, _told(config, data, held_out, most_held_out, start, head))
        run.go(until)
    return output


def resume(output: Path, *, until: int | None = None, progress: Progress | None = None) -> Path:
    """Go on with the run in a folder, exactly as its config.json says.

    Raises:
        UserError: There is no run, or its files are damaged or of another version.
    """
    folder = RunFolder(output)
    told = folder.read(run_folder.CONFIG)
    where = folder.file(run_folder.CONFIG)
    missing = [key for key in ("config", "data", "held_out") if key not in told]
    if missing:
        raise UserError(f"the key '{missing[0]}' is missing.", where=where)

    def path(key: str) -> Path | None:
        return None if told.get(key) is None else Path(told[key])

    return train(
        from_json(told["config"], where),
        output,
        [Path(p) for p in told["data"]],
        held_out=[Path(p) for p in told["held_out"]],
        most_held_out=told.get("most_held_out"),
        start=path("start"),
        head=path("head"),
        resume=True,
        until=until,
        progress=progress,
    )


def _told(
    config: TrainConfig,
    data: Sequence[Path],
    held_out: Sequence[Path],
    most_held_out: int | None,
    start: Path | None,
    head: Path | None,
) -> dict[str, Any]:
    """config.json: all that a run is resumed by."""
    return {
        "config": as_json(config),
        "data": [str(path.resolve()) for path in data],
        "held_out": [str(path.resolve()) for path in held_out],
        "most_held_out": most_held_out,
        "start": None if start is None else str(start.resolve()),
        "head": None if head is None else str(head.resolve()),
    }


def _perceptual(config: TrainConfig, processes: Processes) -> tuple[PerceptualLoss | None, str]:
    """LPIPS and what it is called, or None and why."""
    if not config.loss.lpips:
        return None, "its weight is 0"
    try:
        network = load_lpips()
    except UserError as error:
        if error.where is not None:  # a file is there, and it is not what it should be
            raise
        if config.loss.require_lpips:
            hint = f"{error.hint or ''} To train without: --config.loss.no-require-lpips, or --config.loss.lpips 0."
            raise UserError(f"LPIPS is part of this loss, and {error.what}", hint=hint.strip()) from None
        return None, f"{error.what} {error.hint or ''}".strip()
    return network.to(processes.device), network.id


def _record(
    training: Training, data: Sequence[Path], held_out: Sequence[Path], start: Path | None, lpips: str
) -> dict[str, Any]:
    """What a person who finds the model later wants to know."""
    import torch

    import spatialavatar

    return {
        "spatialavatar": spatialavatar.__version__,
        "torch": torch.__version__,
        "device": str(training.processes.device),
        "processes": training.processes.world,
        "threads": torch.get_num_threads(),
        "data": [path.resolve().name for path in data],
        "held_out": [path.resolve().name for path in held_out],
        "subjects": len(training.maker.subjects),
        "start": None if start is None else start.name,
        "lpips": lpips,
        "parameters": sum(value.numel() for value in training.generator.parameters()),
        "begun": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }
