"""Tables 5 to 9, row by row: what is finished is not run again, and a row that cannot be run says why."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatialavatar.errors import UserError
from spatialavatar.evaluate.ablations.layout import contact_sheet, markdown, provenance
from spatialavatar.evaluate.ablations.rows import TABLES, AblationTable, Ends, Row, changed
from spatialavatar.evaluate.ablations.scoring import (
    RowScores,
    held_out_cases,
    refined_once,
    score_clip,
    score_generator,
    score_refined,
)
from spatialavatar.evaluate.pictures import Pixels
from spatialavatar.evaluate.reenact import save_png
from spatialavatar.evaluate.run import clip_name, head_of, open_clips
from spatialavatar.evaluate.statistics import mean_of
from spatialavatar.evaluate.table import paper_table
from spatialavatar.files import write_atomically, write_json
from spatialavatar.generate.checkpoint import load_generator
from spatialavatar.generate.texture_start import texture_start
from spatialavatar.head.head import Head
from spatialavatar.head.load import load_head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.input_files import read_json
from spatialavatar.progress import Progress, Silent
from spatialavatar.refine.config import RefineConfig, suited_to
from spatialavatar.refine.hold_out import split_frames
from spatialavatar.refine.reference_frame import quiet_and_elsewhere
from spatialavatar.sequence.pictures import read_picture
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.sets import SET_FILE, read_set
from spatialavatar.train import run_folder
from spatialavatar.train.config import TrainConfig, as_json, digest, phase1, phase2
from spatialavatar.train.recipes import compact_phase1, compact_phase2
from spatialavatar.train.run import read_subjects, resume, train
from spatialavatar.train.validation import Case

RECIPES = {"compact": (compact_phase1, compact_phase2), "paper": (phase1, phase2)}


@dataclass(frozen=True)
class Plan:
    """What tables are run on.

    Attributes:
        output: Where everything goes.
        data: Sets for Phase 1; for Table 9, tracked folders, folders of such, or videos.
        multiview: Sets for Phase 2.
        held_out: Sets to score on.
        most_held_out: From each of them at most so many people.
        first, second: The two phases, to which rows apply their changes.
        refine: The refinement, likewise.
        hold_out: Table 9: which frames are scored.
        resolution: Table 9: of the UV layout.
        head: Where it is not the built-in one.
        phase1: A finished run of Phase 1, or a generator's file, for all rows that leave `first` as it is; None: it is
            trained.
    """

    output: Path
    data: tuple[Path, ...]
    multiview: tuple[Path, ...] = ()
    held_out: tuple[Path, ...] = ()
    most_held_out: int | None = None
    first: TrainConfig = field(default_factory=compact_phase1)
    second: TrainConfig = field(default_factory=compact_phase2)
    refine: RefineConfig = field(default_factory=RefineConfig)
    hold_out: str = "blocks"
    resolution: int = 256
    head: Path | None = None
    phase1: Path | None = None


@dataclass(frozen=True)
class RowResult:
    """A row that was run.

    Attributes:
        row: Which.
        ends: After what it was scored.
        scores: What it came to.
        seconds: What it took here, without what other rows had done before.
        told: What is in its file.
    """

    row: Row
    ends: Ends
    scores: RowScores
    seconds: float
    told: dict[str, Any]


def shortened(config: TrainConfig, steps: int | None) -> TrainConfig:
    """The same training in fewer (or more) steps, its schedule squeezed with it."""
    schedule, before = config.optimiser.schedule, config.steps
    steps = steps or before
    squeezed = replace(
        schedule,
        warm_up_steps=round(schedule.warm_up_steps * steps / before),
        fall_steps=None if schedule.fall_steps is None else max(1, round(schedule.fall_steps * steps / before)),
    )
    return replace(
        config,
        optimiser=replace(config.optimiser, schedule=squeezed),
        steps=steps,
        # Scores and pictures are made once, at the end, and by us.
        validate_every=steps + 1,
        preview_every=steps + 1,
        checkpoint_every=min(config.checkpoint_every, max(1, steps // 3)),
    )


def of_size(config: TrainConfig, size: int | None) -> TrainConfig:
    """The same training on pictures of this side, drawn as large as they are; None leaves them."""
    return config if size is None else replace(config, image=replace(config.image, size=size, oversampling=(1,)))


def run_table(
    number: int,
    plan: Plan,
    *,
    only: Sequence[str] = (),
    command: str = "",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run one of the paper's Tables 5 to 9.

    Leaves `table<N>.json`, `table<N>.md` and `table<N>.png` in the output folder, each written anew after every row.

    Args:
        number: 5 to 9.
        plan: On what.
        only: Names of the rows wanted; the others are listed as not run, or with what earlier runs left.
        command: What to write down as the command.
        progress: Where to show how far it is.

    Raises:
        UserError: There is no such table or row, or the data cannot be read.
    """
    if number not in TABLES:
        raise UserError(f"there is no table {number} of ablations.", hint="There are 5, 6, 7, 8 and 9.")
    table, progress = TABLES[number], progress or Silent()
    unknown = sorted(set(only) - {row.name for row in table.rows})
    if unknown:
        names = ", ".join(repr(row.name) for row in table.rows)
        raise UserError(f"table {number} has no row {unknown[0]!r}.", hint=f"It has {names}.")
    runner = _Spikes(plan, progress) if number == 9 else _Trainings(plan, progress)
    plan.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, RowResult] = {}
    missing: dict[str, str] = {}
    for row in table.rows:
        if only and row.name not in only and not runner.known(row, number):
            missing[row.name] = "not run"
            continue
        try:
            results[row.name] = runner.run(row, number, command)
        except _CannotRun as error:
            missing[row.name] = str(error)
            progress.note(f"{row.name}: {error}")
            continue
        _write(table, plan, results, missing)
    return _write(table, plan, results, missing)


class _CannotRun(Exception):
    """A row lacks something that others do not."""


class _Rows:
    """What both kinds of tables do alike: a file a row."""

    def __init__(self, plan: Plan, progress: Progress):
        self.plan, self.progress = plan, progress

    def ends(self, row: Row) -> Ends:
        return row.ends

    def settings(self, row: Row) -> dict[str, Any]:
        """Everything the row's figures depend on."""
        raise NotImplementedError

    def measured(self, row: Row) -> RowScores:
        raise NotImplementedError

    def file(self, row: Row, number: int) -> Path:
        text = "".join(c if c.isalnum() else "-" for c in row.name.lower())
        return self.plan.output / "rows" / f"{number}-{text}.json"

    def known(self, row: Row, number: int) -> bool:
        """Whether it was run with these settings before."""
        try:
            found = read_json(self.file(row, number))
            return isinstance(found, dict) and found.get("settings") == self.settings(row)
        except (UserError, _CannotRun):
            return False

    def run(self, row: Row, number: int, command: str) -> RowResult:
        """The row's result, from its file where it was run before."""
        file, settings = self.file(row, number), self.settings(row)
        if not self.known(row, number):
            self.progress.note(f"Table {number}, {row.name}")
            began = time.perf_counter()
            scores = self.measured(row)
            file.parent.mkdir(parents=True, exist_ok=True)
            for name, picture in scores.pictures.items():
                save_png(picture, _picture(file, name))
                save_png(scores.wanted[name], _picture(file, name, "wanted"))
            told = {
                "row": row.name,
                "changes": row.changes,
                "ends": self.ends(row),
                "sources": row.sources,
                "metrics": {name: mean.as_dict() for name, mean in scores.means().items()},
                "values": scores.values,
                "seconds": round(time.perf_counter() - began, 1),
                "made_with": provenance(command),
                "settings": settings,
            }
            write_json(file, told)
        told = read_json(file)
        return RowResult(row, told["ends"], _kept_scores(file, told), float(told["seconds"]), told)


def _picture(file: Path, name: str, kind: str = "drawn") -> Path:
    folder = file.with_suffix("")
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.{kind}.png"


def _kept_scores(file: Path, told: Mapping[str, Any]) -> RowScores:
    names = list(next(iter(told["values"].values())))
    pictures: dict[str, Pixels] = {}
    wanted: dict[str, Pixels] = {}
    for name in names:
        for kind, found in (("drawn", pictures), ("wanted", wanted)):
            path = _picture(file, name, kind)
            if path.exists():
                found[name] = read_picture(path).colours
    return RowScores(told["values"], pictures, wanted)


class _Trainings(_Rows):
    """Tables 5 to 8: generators trained for the purpose; rows that share a training run it once."""

    def __init__(self, plan: Plan, progress: Progress):
        super().__init__(plan, progress)
        if not plan.held_out:
            raise UserError("no held-out set was given to score on.", hint="Name one with --held-out.")
        self.head: Head = load_open_head() if plan.head is None else load_head(plan.head)
        self._cases: dict[str, list[Case]] = {}
        self._data = {
            name: [_identity(path) for path in paths]
            for name, paths in (("data", plan.data), ("multiview", plan.multiview), ("held_out", plan.held_out))
        }
        self._given_steps: list[Any] = []
        if plan.phase1 is not None:
            file = _generator_of(plan.phase1)
            if not file.exists():
                raise UserError("this is no finished run of Phase 1.", where=plan.phase1, hint="Let it go on first.")
            self._given_steps = [plan.phase1.resolve().name, hashlib.sha256(file.read_bytes()).hexdigest()[:12]]

    def ends(self, row: Row) -> Ends:
        if row.ends == "phase 1" or self.plan.multiview:
            return row.ends
        if row.may_end_earlier:
            return "phase 1"
        raise _CannotRun("not run: it needs a set with several cameras (--multiview)")

    def settings(self, row: Row) -> dict[str, Any]:
        ends = self.ends(row)
        first, second = self._configs(row)
        told: dict[str, Any] = {
            "first": digest(first),
            "steps": [first.steps],
            "sources": row.sources,
            "data": self._data["data"],
            "held_out": [self._data["held_out"], self.plan.most_held_out],
            "scored_at": self.plan.second.image.size,
        }
        if self._given(first) is not None:
            told["phase1"] = self._given_steps
        if ends != "phase 1":
            told |= {
                "second": digest(second),
                "multiview": self._data["multiview"],
                "steps": [first.steps, second.steps],
            }
        if ends == "refinement":
            told["refine"] = _refine_settings(changed(self.plan.refine, row.refine))
        return told

    def measured(self, row: Row) -> RowScores:
        ends, (first, second) = self.ends(row), self._configs(row)
        run = self._given(first) or self._trained(first, self.plan.data, "data", None)
        # Every row is scored in pictures of one size: Phase 2's.
        config = replace(first, image=self.plan.second.image)
        if ends != "phase 1":
            run, config = self._trained(second, self.plan.multiview, "multiview", run), second
        generator = load_generator(_generator_of(run), self.head)
        cases = self._held_out(config)
        if ends != "refinement":
            return score_generator(generator, cases, row.sources)
        # Below our own folder: a run that was given to us is only read.
        keep = (
            self.plan.output
            / "runs"
            / run.name
            / f"refined-{_short(_refine_settings(changed(self.plan.refine, row.refine)))}-k{row.sources}"
        )
        return score_refined(generator, cases, row.sources, changed(self.plan.refine, row.refine), keep, self.progress)

    def _given(self, first: TrainConfig) -> Path | None:
        """The run of Phase 1 that this row can start from, if one was given and the row asks for no other."""
        return self.plan.phase1 if first == self.plan.first else None

    def _configs(self, row: Row) -> tuple[TrainConfig, TrainConfig]:
        first, second = (changed(config, row.both) for config in (self.plan.first, self.plan.second))
        return changed(first, row.first), changed(second, row.second)

    def _trained(self, config: TrainConfig, data: Sequence[Path], name: str, start: Path | None) -> Path:
        """The folder of a finished run, of which there is one for every configuration and start."""
        key = _short([digest(config), self._data[name], None if start is None else start.name])
        folder = self.plan.output / "runs" / f"{config.draw.phase}-{key}"
        if (folder / run_folder.GENERATOR).exists():
            return folder
        try:
            if (folder / run_folder.CHECKPOINT).exists():
                return resume(folder, progress=self.progress)
            shutil.rmtree(folder, ignore_errors=True)
            return train(config, folder, data, start=start, head=self.plan.head, progress=self.progress)
        except UserError as error:
            if config.generator.encoder == "compact":
                raise
            raise _CannotRun(f"not run: {error.what}") from None

    def _held_out(self, config: TrainConfig) -> list[Case]:
        key = _short(as_json(replace(config, optimiser=self.plan.first.optimiser))["generator"])
        if key not in self._cases:
            layout = build_uv_layout(self.head, config.layout_resolution)
            generator = replace(config.generator, layout_resolution=config.layout_resolution)
            people = read_subjects(self.plan.held_out, self.plan.most_held_out)
            self._cases = {key: held_out_cases(people, self.head, layout, replace(config, generator=generator))}
        return self._cases[key]


class _Spikes(_Rows):
    """Table 9: refinement with one part against spikes left out, on frames that it does not see."""

    def __init__(self, plan: Plan, progress: Progress):
        super().__init__(plan, progress)
        self.head = None if plan.head is None else load_head(plan.head)
        self.clips = open_clips(plan.data, plan.output, head=self.head, progress=progress)
        short = [clip for clip in self.clips if len(clip) < 2]
        if short:
            raise UserError("a single frame cannot be refined and scored.", where=short[0].folder)

    def settings(self, row: Row) -> dict[str, Any]:
        return {
            "refine": _refine_settings(changed(self.plan.refine, row.refine)),
            "clips": [_identity(clip.folder) for clip in self.clips if clip.folder is not None],
            "hold_out": self.plan.hold_out,
            "resolution": self.plan.resolution,
        }

    def measured(self, row: Row) -> RowScores:
        found = RowScores({}, {}, {})
        config = changed(self.plan.refine, row.refine)
        for clip in self.clips:
            assert clip.folder is not None
            name = clip_name(clip.folder)
            head = head_of(clip, self.head)
            training, held = hold_out_frames(len(clip), self.plan.hold_out)
            part = clip.select(training)
            keep = self.plan.output / "refined" / _short([self.settings(row), name])
            keep.mkdir(parents=True, exist_ok=True)
            avatar, aspect = refined_once(
                lambda part=part, head=head: self._start(part, head),  # type: ignore[misc]
                part,
                config,
                keep / f"{name}.avatar",
                head,
                self.progress,
            )
            score_clip(found, name, avatar, clip, held)
            found.values.setdefault("max_aspect", {})[name] = [aspect]
        return found

    def _start(self, part: TrackedSequence, head: Head) -> Any:
        """As `create` starts: from the quietest frame and three that look elsewhere, none of them held out."""
        usable = torch.nonzero(part.is_valid)[:, 0].tolist()
        if not usable:
            raise UserError("no frame shows a face that could be tracked.", where=part.folder)
        frames = quiet_and_elsewhere(part, head, usable, 4, seed=0)
        layout = build_uv_layout(head, self.plan.resolution)
        return texture_start(part, head, layout, frames, clothes=True).avatar


def hold_out_frames(count: int, hold_out: str) -> tuple[list[int], list[int]]:
    """Training and held-out frames; clips too short for the protocols keep every fourth frame from training."""
    try:
        return split_frames(count, hold_out)  # type: ignore[arg-type]
    except UserError:
        held = list(range(2, count, 4)) or [count - 1]
        return [frame for frame in range(count) if frame not in held], held


def _generator_of(run: Path) -> Path:
    """What a finished run's folder holds; a generator's file stands for itself."""
    return run if run.is_file() else run / run_folder.GENERATOR


def _refine_settings(config: RefineConfig) -> dict[str, Any]:
    tree = json.loads(json.dumps(asdict(suited_to("video", config))))
    return {name: value for name, value in tree.items() if name not in ("checkpoint_every", "preview_seconds")}


def _identity(path: Path) -> list[Any]:
    """A set's or a folder's name and a hash of what it says of itself."""
    for file in (SET_FILE, "sequence.json"):
        if (path / file).is_file():
            return [path.resolve().name, hashlib.sha256((path / file).read_bytes()).hexdigest()[:12]]
    return [path.resolve().name, str(len(read_set(path)))]


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def _difference(scores: RowScores, first: RowScores) -> dict[str, Any] | None:
    """PSNR less that of the first row that was run, picture by picture; None where they have other pictures."""
    ours, theirs = scores.values["psnr"], first.values["psnr"]
    if {name: len(column) for name, column in ours.items()} != {name: len(column) for name, column in theirs.items()}:
        return None
    return mean_of([np.subtract(ours[name], theirs[name]) for name in ours]).as_dict()


def _write(
    table: AblationTable, plan: Plan, results: Mapping[str, RowResult], missing: Mapping[str, str]
) -> dict[str, Any]:
    """The table's three files."""
    printed = {name: values[0] for key in table.printed for name, values in paper_table(key).rows.items()}
    rows = []
    for row in table.rows:
        told: dict[str, Any] = {"row": row.name, "changes": row.changes, "paper": {"psnr": printed[row.name]}}
        result = results.get(row.name)
        if result is None:
            told["missing"] = missing.get(row.name, "not run yet")
        else:
            keys = ("ends", "sources", "metrics", "seconds", "made_with", "settings")
            told |= {key: result.told[key] for key in keys}
            told["difference"] = _difference(result.scores, next(iter(results.values())).scores)
        rows.append(told)
    contents = {
        "format": "spatialavatar.ablation",
        "format_version": 1,
        "table": table.number,
        "title": table.title,
        "rows": rows,
    }
    write_json(plan.output / f"table{table.number}.json", contents)
    with write_atomically(plan.output / f"table{table.number}.md") as temporary:
        temporary.write_text(markdown(contents), encoding="utf-8")
    sheet = contact_sheet([(result.row.name, result.scores) for result in results.values()])
    if sheet is not None:
        save_png(sheet, plan.output / f"table{table.number}.png")
    return contents
