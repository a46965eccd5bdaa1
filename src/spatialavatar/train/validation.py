"""Scores on people that training never sees: self-reenactment by K = 1..4 sources, against the texture start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spatialavatar.avatar.binding import Binding, make_binding, world_from_local
from spatialavatar.errors import UserError
from spatialavatar.generate.generator import Generator
from spatialavatar.generate.inputs import Sources
from spatialavatar.generate.sources import spread_sources
from spatialavatar.generate.texture_start import texture_start
from spatialavatar.head.head import Head
from spatialavatar.head.uv import UVLayout
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.render import render
from spatialavatar.train.config import TrainConfig
from spatialavatar.train.draws import Subject
from spatialavatar.train.items import Target, make_target, prepare
from spatialavatar.train.objective import draw
from spatialavatar.train.pictures import scaled_frame

COUNTS = (1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class Case:
    """One held-out clip: its sources for every K, the frames they are, and the frames to be met."""

    name: str
    sequence: TrackedSequence
    frames: tuple[int, ...]
    sources: tuple[Sources, ...]
    targets: tuple[Target, ...]


def split_clip(length: int, targets: int) -> tuple[list[int], list[int]]:
    """Four source frames, the first of the clip first, and `targets` others, evenly spread.

    Raises:
        ValueError: The clip is too short.
    """
    if length < len(COUNTS) + targets:
        raise ValueError(f"{length} frames are fewer than {len(COUNTS)} sources and {targets} targets")
    sources = list(spread_sources(range(length)))
    rest = [frame for frame in range(1, length) if frame not in sources]
    return sources, [rest[(2 * i + 1) * len(rest) // (2 * targets)] for i in range(targets)]


def make_cases(
    subjects: Sequence[Subject], head: Head, layout: UVLayout, config: TrainConfig, targets: int = 4
) -> list[Case]:
    """The held-out clips (of several cameras the first), over white.

    Raises:
        UserError: A clip is too short, or belongs to another head.
    """
    cases = []
    for subject in subjects:
        sequence = subject.cameras[0]
        if sequence.head_edition != head.edition:
            raise UserError(
                f"{subject.name} was tracked with the head {sequence.head_edition}, and training uses {head.edition}.",
                where=sequence.folder,
            )
        usable = torch.nonzero(sequence.is_valid)[:, 0].tolist()
        try:
            sources, wanted = split_clip(len(usable), targets)
        except ValueError as error:
            raise UserError(f"{subject.name} is too short to be held out: {error}.", where=sequence.folder) from None
        frames = [usable[i] for i in sources]
        white = torch.ones(3)
        cases.append(
            Case(
                subject.name,
                sequence,
                tuple(frames),
                tuple(
                    prepare([(sequence, f) for f in frames[:count]], head, layout, config.generator) for count in COUNTS
                ),
                tuple(
                    make_target(
                        sequence,
                        f,
                        scaled_frame(sequence, f, config.image.size),
                        head,
                        white,
                        config.loss.box_dilation,
                        view_frame=config.generator.view_frame,
                    )
                    for f in (usable[i] for i in wanted)
                ),
            )
        )
    return cases


def psnr(picture: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio of (3, H, W) pictures in [0, 1], dB."""
    return float(-10 * torch.log10((picture.clamp(0, 1) - target).square().mean().clamp_min(1e-10)))


def _binding(generator: Generator, device: torch.device) -> Binding:
    faces, triangles = generator.head.faces.cpu(), generator.layout.triangles.cpu()
    return make_binding(faces, triangles, generator.head.num_vertices).to(device)


@torch.no_grad()
def score(generator: Generator, cases: Sequence[Case], counts: Sequence[int] = COUNTS) -> dict[str, float]:
    """Mean PSNR over all held-out pictures for each K: `psnr_k1` ..."""
    device = next(generator.parameters()).device
    binding = _binding(generator, device)
    found: dict[str, float] = {}
    for count in counts:
        values = []
        for case in cases:
            features = generator.encode(case.sources[count - 1].to(device))
            for target in case.targets:
                moved = target.to(device)
                output = generator.decode(features, moved.direction[None], moved.condition[None])
                values.append(psnr(draw(output, 0, moved, binding), moved.picture))
        found[f"psnr_k{count}"] = sum(values) / len(values)
    return found


def score_texture_start(
    cases: Sequence[Case], head: Head, layout: UVLayout, counts: Sequence[int] = COUNTS
) -> dict[str, float]:
    """The same for the start without a network, from the same frames."""
    found: dict[str, float] = {}
    for count in counts:
        values = []
        for case in cases:
            avatar = texture_start(case.sequence, head, layout, list(case.frames[:count])).avatar
            for target in case.targets:
                with torch.no_grad():
                    world = world_from_local(avatar.gaussians, target.vertices, avatar.binding)
                    picture = render(world, target.camera, target.background).image.permute(2, 0, 1)
                values.append(psnr(picture, target.picture))
        found[f"psnr_k{count}"] = sum(values) / len(values)
    return found


@torch.no_grad()
def preview_rows(generator: Generator, cases: Sequence[Case], most: int = 6) -> list[list[Tensor]]:
    """For some held-out people: the one source, a target and its rendering, another target and its rendering."""
    device = next(generator.parameters()).device
    binding = _binding(generator, device)
    rows = []
    for case in cases[:most]:
        features = generator.encode(case.sources[0].to(device))
        row = [case.sources[0].images[0, 0]]
        for target in (case.targets[0], case.targets[-1]):
            moved = target.to(device)
            output = generator.decode(features, moved.direction[None], moved.condition[None])
            row += [target.picture, draw(output, 0, moved, binding).cpu()]
        rows.append(row)
    return rows
