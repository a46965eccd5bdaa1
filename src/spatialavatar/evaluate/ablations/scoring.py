"""How rows are scored: PSNR of held-out pictures, one value a picture, so that means have intervals (Tables 5 to 8)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import make_binding
from spatialavatar.avatar.file import load_avatar, save_avatar
from spatialavatar.evaluate import pixels
from spatialavatar.evaluate.reenact import to_bytes
from spatialavatar.evaluate.regions import region_masks
from spatialavatar.evaluate.spikes import spike_score
from spatialavatar.evaluate.statistics import Mean, mean_of
from spatialavatar.files import write_json
from spatialavatar.generate.feed_forward import generate_avatar
from spatialavatar.generate.generator import Generator
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import UVLayout
from spatialavatar.input_files import read_json
from spatialavatar.progress import Progress, Silent
from spatialavatar.refine import held_out
from spatialavatar.refine.config import RefineConfig, suited_to
from spatialavatar.refine.loop import refine
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.sets import SetSubject
from spatialavatar.splat.render import render
from spatialavatar.train.config import TrainConfig
from spatialavatar.train.items import Target
from spatialavatar.train.objective import draw
from spatialavatar.train.validation import Case, make_cases, psnr, split_clip

TARGETS = 4
"""Pictures of every held-out person that are met; none is a source, and none is refined on."""


@dataclass(frozen=True)
class RowScores:
    """What one row came to.

    Attributes:
        values: Metric -> held-out person -> one value a picture.
        pictures: Person -> (H, W, 3) uint8 of its first picture as the row draws it.
        wanted: The same pictures as they should be.
    """

    values: dict[str, dict[str, list[float]]]
    pictures: dict[str, np.ndarray]
    wanted: dict[str, np.ndarray]

    def means(self) -> dict[str, Mean]:
        """Over all pictures; people are what is drawn for the intervals."""
        return {name: mean_of(list(people.values())) for name, people in self.values.items()}


def held_out_cases(people: Sequence[SetSubject], head: Head, layout: UVLayout, config: TrainConfig) -> list[Case]:
    """The held-out people as training's own validation takes them."""
    return make_cases(people, head, layout, config, TARGETS)


@torch.no_grad()
def score_generator(generator: Generator, cases: Sequence[Case], count: int) -> RowScores:
    """PSNR of the generator's avatars from `count` sources."""
    generator.eval()
    faces, triangles = generator.head.faces, generator.layout.triangles
    binding = make_binding(faces, triangles, generator.head.num_vertices)
    found = RowScores({"psnr": {}}, {}, {})
    for case in cases:
        features = generator.encode(case.sources[count - 1])
        made = []
        for target in case.targets:
            output = generator.decode(features, target.direction[None], target.condition[None])
            made.append(draw(output, 0, target, binding))
        _add(found, case, made)
    return found


def score_refined(
    generator: Generator,
    cases: Sequence[Case],
    count: int,
    config: RefineConfig,
    keep: Path,
    progress: Progress | None = None,
) -> RowScores:
    """PSNR of the generator's avatars after refinement on all frames of their people but the held-out pictures.

    Refined avatars are kept in `keep`, and not made again.
    """
    found = RowScores({"psnr": {}, "max_aspect": {}}, {}, {})
    keep.mkdir(parents=True, exist_ok=True)
    for case in cases:
        usable = torch.nonzero(case.sequence.is_valid)[:, 0].tolist()
        wanted = [usable[index] for index in split_clip(len(usable), len(case.targets))[1]]
        training = case.sequence.select([frame for frame in usable if frame not in wanted])
        avatar, aspect = refined_once(
            lambda case=case: generate_avatar(case.sequence, generator, case.frames[:count]),  # type: ignore[misc]
            training,
            config,
            keep / f"{case.name}.avatar",
            generator.head,
            progress,
        )
        _add(found, case, [_drawn(avatar, case, f, t) for f, t in zip(wanted, case.targets, strict=True)])
        found.values["max_aspect"][case.name] = [aspect]
    return found


def refined_once(
    start: Callable[[], Avatar],
    sequence: TrackedSequence,
    config: RefineConfig,
    file: Path,
    head: Head,
    progress: Progress | None = None,
) -> tuple[Avatar, float]:
    """A refined avatar and its largest aspect, as an earlier run left them or made now; a stopped one goes on."""
    progress, record = progress or Silent(), file.with_suffix(".json")
    if not (file.exists() and record.exists()):
        suited = suited_to(sequence.kind, config)
        state = file.with_suffix(".state")
        with progress.stage(f"Refining {file.stem}"[:22], suited.iterations) as advance:
            result = refine(
                start(),
                sequence,
                suited,
                checkpoint=state,
                resume=state.exists(),
                progress=lambda state: advance(20) if state.iteration % 20 == 0 else None,
            )
        save_avatar(result.avatar, file)
        write_json(record, result.report)
        state.unlink(missing_ok=True)
    # As the file has it, from the first run on.
    avatar = load_avatar(file, None if head.edition == load_open_head().edition else head)
    return avatar, float(read_json(record)["max_aspect"])


@torch.no_grad()
def score_clip(found: RowScores, name: str, avatar: Avatar, sequence: TrackedSequence, frames: Sequence[int]) -> None:
    """Add a clip's scores: its held-out frames over white, as 8-bit pictures."""
    metrics = ("psnr", "psnr_above_chin", "ssim", "spike")
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    for frame in frames:
        made = to_bytes(held_out.draw(avatar, sequence, frame))
        wanted = to_bytes(held_out.over_white(sequence, frame))
        image, target = (torch.from_numpy(picture.copy()).float() / 255 for picture in (made, wanted))
        values["psnr"].append(pixels.psnr(image, target))
        values["ssim"].append(pixels.ssim(image, target))
        values["spike"].append(spike_score(image, target))
        if sequence.landmarks is not None:
            mask = region_masks(sequence.landmarks[frame].numpy(), sequence.width, sequence.height)["above_chin"]
            values["psnr_above_chin"].append(pixels.psnr(image, target, mask))
        if frame == frames[0]:
            found.pictures[name], found.wanted[name] = made, wanted
    for metric, column in values.items():
        if column:
            found.values.setdefault(metric, {})[name] = [v for v in column if math.isfinite(v)]


@torch.no_grad()
def _drawn(avatar: Avatar, case: Case, frame: int, target: Target) -> Tensor:
    return render(avatar.pose(case.sequence.motion[frame]), target.camera, target.background).image.permute(2, 0, 1)


def _add(found: RowScores, case: Case, made: Sequence[Tensor]) -> None:
    found.values["psnr"][case.name] = [psnr(m, t.picture) for m, t in zip(made, case.targets, strict=True)]
    found.pictures[case.name] = _bytes(made[0])
    found.wanted[case.name] = _bytes(case.targets[0].picture)


def _bytes(picture: Tensor) -> Any:
    """(3, H, W) in [0, 1] -> (H, W, 3) uint8."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
