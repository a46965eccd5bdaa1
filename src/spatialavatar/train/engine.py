"""The training loop: the same for both phases, for one process or many, for a new run or a resumed one."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spatialavatar.errors import UserError
from spatialavatar.generate.checkpoint import load_generator, save_generator
from spatialavatar.generate.config import same_network
from spatialavatar.generate.generator import Generator
from spatialavatar.head.head import Head
from spatialavatar.head.uv import UVLayout
from spatialavatar.interrupts import stops_held
from spatialavatar.progress import Progress, Silent
from spatialavatar.train import run_folder
from spatialavatar.train.anchor import add_anchor_gradient_
from spatialavatar.train.checkpoint import pack_optimiser, read_checkpoint, take, unpack_optimiser_, write_checkpoint
from spatialavatar.train.config import TrainConfig, as_json, digest
from spatialavatar.train.draws import Stream, Subject, stream
from spatialavatar.train.items import Item, ItemMaker
from spatialavatar.train.objective import Objective, PerceptualLoss
from spatialavatar.train.optimiser import clip_gradients_, make_optimiser, set_rate
from spatialavatar.train.processes import Processes
from spatialavatar.train.run_folder import RunFolder, sheet
from spatialavatar.train.schedule import rate_factor
from spatialavatar.train.validation import Case, make_cases, preview_rows, score, score_texture_start


class Steps(Dataset[list[Item]]):
    """Each step's items of one process, by the number of the step."""

    def __init__(self, maker: ItemMaker, share: range):
        self.maker, self.share = maker, share

    def __len__(self) -> int:
        return self.maker.config.steps

    def __getitem__(self, step: int) -> list[Item]:
        return [self.maker.make(step, number) for number in self.share]


class Training:
    """One run's state, advanced one step at a time. Mutable on purpose: this is what checkpoints hold.

    Args:
        config: Everything.
        subjects: People to train on.
        head, layout: What is generated.
        processes: This process among all.
        perceptual: LPIPS, or None to go without.
        start: Weights to start from (Phase 2: Phase 1's, which are then the anchor); None: the seed's.
        resumed: A checkpoint will be loaded, which brings weights and anchor.
    """

    def __init__(
        self,
        config: TrainConfig,
        subjects: Sequence[Subject],
        head: Head,
        layout: UVLayout,
        *,
        processes: Processes | None = None,
        perceptual: PerceptualLoss | None = None,
        start: dict[str, Tensor] | None = None,
        resumed: bool = False,
    ):
        self.config, self.head, self.layout = config, head, layout
        self.processes = processes or Processes()
        self.share = self.processes.share(config.batch)
        torch.manual_seed(config.seed)
        self.generator = Generator(config.generator, head, layout)
        if start is not None:
            self.generator.load_state_dict(start)
        self.generator.to(self.processes.device)
        self.maker = ItemMaker(subjects, head, layout, config)
        self.objective = Objective(config, self.generator, perceptual)
        self.optimiser = make_optimiser(self.generator, config.optimiser)
        self.anchor: dict[str, Tensor] = {}
        if config.optimiser.anchor > 0:
            if start is None and not resumed:
                raise UserError(
                    "L2-SP holds the weights near those of Phase 1, and there are none.",
                    hint="Name Phase 1's run with --start, or switch it off: --config.optimiser.anchor 0",
                )
            self.anchor = {name: value.detach().clone() for name, value in self._trainable()}
        self.average = {name: value.detach().clone() for name, value in self._trainable()}
        self.step = 0
        self.pictures: list[tuple[Tensor, Tensor]] = []

    def _trainable(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((name, value) for name, value in self.generator.named_parameters() if value.requires_grad)

    def advance(self, items: Sequence[Item]) -> dict[str, float]:
        """One step on this process's items: every term, the loss, the gradient's norm and the rate."""
        config = self.config
        rate = config.optimiser.learning_rate * rate_factor(self.step, config.steps, config.optimiser.schedule)
        set_rate(self.optimiser, rate)
        self.optimiser.zero_grad(set_to_none=True)
        self.generator.train()
        # Whatever a network draws by itself follows from the step, too.
        torch.manual_seed(int(stream(config.seed, Stream.NETWORK, self.step, self.processes.rank).integers(2**62)))
        values = self.accumulate(items)
        self.processes.average_gradients_(self.generator)
        values = self.processes.average(values)
        if self.anchor:
            values["anchor"] = add_anchor_gradient_(self._trainable(), self.anchor, config.optimiser.anchor)
        values["norm"] = clip_gradients_(self.generator, config.optimiser.clip_norm)
        values["rate"] = rate
        # A step with a gradient that is no number would end the run for good; it is left out instead.
        if torch.isfinite(torch.tensor(values["norm"])):
            self.optimiser.step()
            self._average_()
        self.step += 1
        return values

    def accumulate(self, items: Sequence[Item]) -> dict[str, float]:
        """Add the gradients of the mean loss over `items`, in parts as small as the configuration wants."""
        size = self.config.micro_batch or len(items)
        values: dict[str, float] = {}
        self.pictures = []
        for first in range(0, len(items), size):
            part = items[first : first + size]
            weight = len(part) / len(items)
            terms = self.objective.terms(part, self.step, list(self.share)[first : first + size])
            loss = terms.weighted(self.config.loss)
            (loss * weight).backward()
            for name, value in {**terms.values, "loss": loss}.items():
                values[name] = values.get(name, 0.0) + weight * float(value.detach())
            self.pictures += terms.pictures
        return values

    @torch.no_grad()
    def _average_(self) -> None:
        """Move the running mean of the weights; young runs forget their start faster."""
        decay = min(self.config.optimiser.average, (1 + self.step) / (10 + self.step))
        for name, value in self._trainable():
            if self.config.optimiser.average > 0:
                self.average[name].lerp_(value.detach(), 1 - decay)
            else:
                self.average[name].copy_(value.detach())

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Generator]:
        """The generator with the mean weights, for scoring and saving."""
        kept = {name: value.detach().clone() for name, value in self._trainable()}
        self._put(self.average)
        self.generator.eval()
        try:
            yield self.generator
        finally:
            self._put(kept)
            self.generator.train()

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._trainable():
            parameter.copy_(values[name])

    # ------------------------------------------------------------------ state on disk

    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be of this run."""
        return {
            "config": digest(self.config),
            "layout": self.layout.layout_id,
            "head": self.head.edition,
            "subjects": [subject.name for subject in self.maker.subjects],
        }

    def save(self, path: Path, extra: dict[str, Any]) -> None:
        """Write the state after `self.step` steps."""
        tensors = {f"model.{name}": value for name, value in self.generator.state_dict().items()}
        tensors |= pack_optimiser(self.optimiser)
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        tensors |= {f"anchor.{name}": value for name, value in self.anchor.items()}
        write_checkpoint(path, tensors, {**self.identity(), "step": self.step, **extra})

    def load(self, path: Path) -> dict[str, Any]:
        """Go on from a checkpoint; returns its header.

        Raises:
            UserError: See `read_checkpoint`.
        """
        tensors, header = read_checkpoint(path, self.identity())
        device = self.processes.device
        self.generator.load_state_dict(take(tensors, "model"))
        unpack_optimiser_(self.optimiser, tensors)
        self.average = {name: value.to(device) for name, value in take(tensors, "average").items()}
        self.anchor = {name: value.to(device) for name, value in take(tensors, "anchor").items()}
        self.step = int(header["step"])
        return header


class Run:
    """A training in its folder: logs, scores, pictures, checkpoints.

    Args:
        training: What is advanced.
        folder: Where it is written; made by `RunFolder.create` or resumed.
        held_out: People to score on.
        record: What is known before it starts; grows and is written as record.json.
    """

    def __init__(
        self,
        training: Training,
        folder: RunFolder,
        held_out: Sequence[Subject] = (),
        record: dict[str, Any] | None = None,
        progress: Progress | None = None,
    ):
        self.training, self.folder, self.held_out = training, folder, held_out
        self.record = dict(record or {})
        self.progress = progress or Silent()
        self.cases: list[Case] | None = None
        self.window: dict[str, float] = {}
        self.counted = 0
        self.seconds = 0.0
        self.best = float("-inf")

    def resume(self) -> None:
        """Go on where the folder's checkpoint stands; later lines of its logs are dropped."""
        header = self.training.load(self.folder.file(run_folder.CHECKPOINT))
        self.window, self.counted = header["window"], header["counted"]
        self.seconds, self.best = header["seconds"], header["best"]
        self.record |= self.folder.read(run_folder.RECORD)  # what was true when it began
        if self.training.processes.first:
            self.folder.forget_after(self.training.step)

    def go(self, until: int | None = None) -> None:
        """Train to the configured number of steps, or `until`.

        Raises:
            Stopped: A signal asked for it; the step ended, and the state was saved.
        """
        training, config = self.training, self.training.config
        first = training.processes.first
        last = config.steps if until is None else min(until, config.steps)
        if first:
            self.record["tensorboard"] = self.folder.open_board(training.step)
            self.folder.write(run_folder.RECORD, self.record)
        steps = DataLoader(
            Steps(training.maker, training.share),
            batch_size=None,
            sampler=range(training.step, last),
            num_workers=config.workers,
            worker_init_fn=_leave_stops_to_the_first,
        )
        begun = time.monotonic() - self.seconds
        try:
            with stops_held() as stop:
                with self.progress.stage("Training", last) as advance:
                    advance(training.step)
                    for items in steps:
                        values = training.advance(items)
                        self.seconds = time.monotonic() - begun
                        if first:
                            self._after_step(values)
                        advance(1, note=f"loss {values['loss']:.2f}")
                        # All stop after the same step, or one would wait for the others for ever.
                        if training.processes.any(stop.asked):
                            break
                stop.asked = training.processes.any(stop.asked)
                if first:
                    self._save()
            if first and training.step == last:
                with training.averaged() as generator:
                    save_generator(generator, self.folder.file(run_folder.GENERATOR), self._summary())
        finally:
            self.folder.close()

    def _after_step(self, values: dict[str, float]) -> None:
        training, config = self.training, self.training.config
        step = training.step
        for name, value in values.items():
            self.window[name] = self.window.get(name, 0.0) + value
        self.counted += 1
        if step % config.log_every == 0:
            means = {name: value / self.counted for name, value in self.window.items()}
            self.folder.append(run_folder.LOSSES, {"step": step, "seconds": round(self.seconds, 1), **means})
            self.folder.numbers("train", means, step)
            self.window, self.counted = {}, 0
        if step % config.preview_every == 0:
            self._preview()
        if self.held_out and step % config.validate_every == 0:
            self._validate()
        if step % config.checkpoint_every == 0:
            self._save()

    def _known_cases(self) -> list[Case]:
        if self.cases is None:
            training = self.training
            self.cases = make_cases(self.held_out, training.head, training.layout, training.config)
            if "texture_start" not in self.record:
                # From one source only: its hair is fitted by rendering, which takes seconds for each clip.
                scores = score_texture_start(self.cases, training.head, training.layout, (1,))
                self.record["texture_start"] = scores
                self.folder.write(run_folder.RECORD, self.record)
        return self.cases

    def _preview(self) -> None:
        if self.held_out:
            cases = self._known_cases()
            with self.training.averaged() as generator:
                rows = preview_rows(generator, cases)
        else:
            rows = [[wanted, made.clamp(0, 1)] for made, wanted in self.training.pictures[:8]]
        self.folder.picture(sheet(rows), self.training.step)

    def _validate(self) -> None:
        cases, step = self._known_cases(), self.training.step
        with self.training.averaged() as generator:
            scores = score(generator, cases)
            self.folder.append(run_folder.SCORES, {"step": step, **scores})
            self.folder.numbers("held_out", scores, step)
            self.progress.note(f"step {step}: " + ", ".join(f"{k} {v:.2f}" for k, v in scores.items()))
            if scores["psnr_k1"] > self.best:
                self.best = scores["psnr_k1"]
                save_generator(generator, self.folder.file(run_folder.BEST), {**self._summary(), "held_out": scores})

    def _summary(self) -> dict[str, Any]:
        """What a generator's file says about its training."""
        training = self.training
        return {
            "phase": training.config.draw.phase,
            "steps": training.step,
            "seconds": round(self.seconds),
            "config": as_json(training.config),
            "record": self.record,
        }

    def _save(self) -> None:
        state = {"window": self.window, "counted": self.counted, "seconds": self.seconds, "best": self.best}
        self.training.save(self.folder.file(run_folder.CHECKPOINT), state)


def _leave_stops_to_the_first(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; a loader that ended by it would take the step with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def start_weights(path: Path, config: TrainConfig, head: Head, layout: UVLayout) -> dict[str, Tensor]:
    """The weights of a run's folder (its end, else its best, so far) or of a generator's file.

    Raises:
        UserError: There are none, or they are of another generator, head or layout.
    """
    file = path
    if path.is_dir():
        names = (run_folder.GENERATOR, run_folder.BEST)
        found = [path / name for name in names if (path / name).exists()]
        if not found:
            raise UserError("this run has not written a generator yet.", where=path, hint="Let it go on first.")
        file = found[0]
    generator = load_generator(file, head)
    if not same_network(generator.config, config.generator):
        raise UserError(
            "these weights are of a generator of another configuration.",
            where=file,
            hint="Both phases train the same generator: give the same --config.generator options.",
        )
    if generator.layout.layout_id != layout.layout_id:
        raise UserError(f"these weights are of the UV layout {generator.layout.layout_id}.", where=file)
    return {name: value.detach().clone() for name, value in generator.state_dict().items()}
