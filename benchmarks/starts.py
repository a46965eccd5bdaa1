"""Stage 2 from the texture start and from the generator's: held-out PSNR on the way, drawn as two curves.

    python benchmarks/starts.py me.tracked -o results/                     # UV 128, 2,500 iterations
    python benchmarks/starts.py me.tracked --full -o results/              # UV 256, 10,000 iterations
    python benchmarks/starts.py me.tracked --scores                        # only the starts, by both protocols

Leaves NAME.starts.json and NAME.starts.png (curves), and NAME.START.png (views and expressions) in the output folder.
The layout and the number of Gaussians are the same from either start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from PIL import Image, ImageDraw

from spatialavatar.create import CreateOptions, start_avatar, start_frames
from spatialavatar.files import write_atomically, write_json
from spatialavatar.generate.texture_start import texture_start
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.progress import Rich
from spatialavatar.refine.config import HoldOut, RefineConfig, default_iterations, suited_to
from spatialavatar.refine.held_out import score
from spatialavatar.refine.hold_out import split_frames
from spatialavatar.refine.preview import contact_sheet, save_picture
from spatialavatar.refine.refinement import Refinement
from spatialavatar.sequence.folder import read_sequence
from spatialavatar.sequence.sequence import TrackedSequence

Start = Literal["texture", "generator"]
COLORS: dict[Start, tuple[int, int, int]] = {"texture": (196, 120, 20), "generator": (38, 110, 190)}
POINTS = 20
"""Scores along a run."""
FRAMES = 12
"""Held-out frames of a score."""


@dataclass(frozen=True)
class Options:
    """What to run."""

    folder: tyro.conf.Positional[Path]
    """A tracked folder."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("starts-results")
    """Where results go."""
    full: bool = False
    """UV 256 and 10,000 iterations, as `create` does; else as `create --fast` does."""
    iterations: int | None = None
    """Another number of iterations."""
    generator: Path | None = None
    """A generator's file, in place of the package's."""
    scores: bool = False
    """Refine nothing: score the starts of `create` on all held-out frames, and the bare texture start, whose torso is
    the head model's own."""


def curve(sequence: TrackedSequence, start: Start, options: Options) -> list[tuple[int, float]]:
    """(iteration, held-out PSNR in dB) along one refinement; writes the finished avatar's sheet."""
    iterations = options.iterations or default_iterations("video", fast=not options.full)
    config = suited_to(sequence.kind, RefineConfig(iterations=iterations, hold_out="blocks"))
    created = CreateOptions(fast=not options.full, start=start, generator=options.generator)
    head = load_open_head()
    training, _ = split_frames(len(sequence), config.hold_out)
    run = Refinement(start_avatar(sequence, head, created, training), sequence, config)
    shown = run.held_out[:: max(1, len(run.held_out) // FRAMES)][:FRAMES]
    points = [(0, score(run.avatar, sequence, shown).psnr)]
    began = time.perf_counter()
    with Rich().stage(start, iterations) as advance:
        while run.iteration < iterations:
            run.step()
            run.advance_schedule(time.perf_counter() - began)
            advance(1)
            # Closer in the beginning, where the two differ most.
            if run.iteration in (iterations // 80, iterations // 40) or run.iteration % (iterations // POINTS) == 0:
                avatar = replace(run.avatar, gaussians=run.local().detach())
                points.append((run.iteration, score(avatar, sequence, shown).psnr))
    final = replace(run.avatar, gaussians=run.result())
    points[-1] = (run.iteration, score(final, sequence, shown).psnr)
    save_picture(contact_sheet(final), options.output / f"{options.folder.stem}.{start}.png")
    return points


def scores(sequence: TrackedSequence, options: Options) -> None:
    """Print what each start scores on the frames that a protocol holds out."""
    head = load_open_head()
    layout = build_uv_layout(head, CreateOptions().resolution)
    protocols: tuple[HoldOut, HoldOut] = ("blocks", "tail")
    for hold_out in protocols:
        training, held = split_frames(len(sequence), hold_out)
        frames = start_frames(sequence, head, CreateOptions(), training)
        starts = {
            "bare texture": texture_start(sequence, head, layout, frames).avatar,
            "texture": start_avatar(sequence, head, CreateOptions(start="texture"), training),
            "generator": start_avatar(
                sequence, head, CreateOptions(start="generator", generator=options.generator), training
            ),
        }
        for name, avatar in starts.items():
            found = score(avatar, sequence, held)
            print(f"{hold_out:6s} {name:13s} {found.psnr:6.2f} dB, {found.psnr_above_chin:6.2f} above the chin")


def draw(curves: dict[Start, list[tuple[int, float]]]) -> Image.Image:
    """Both curves over the iterations."""
    width, height, left, bottom = 900, 420, 60, 40
    last = max(point[0] for points in curves.values() for point in points)
    values = [point[1] for points in curves.values() for point in points]
    low, high = min(values) - 0.5, max(values) + 0.5
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)

    def place(point: tuple[int, float]) -> tuple[float, float]:
        x = left + (width - left - 20) * point[0] / last
        return x, (height - bottom) - (height - bottom - 30) * (point[1] - low) / (high - low)

    for decibels in range(int(low) + 1, int(high) + 1):
        _, y = place((0, decibels))
        pen.line([(left, y), (width - 20, y)], fill=(228, 231, 235))
        pen.text((left - 40, y - 6), f"{decibels} dB", fill=(120, 126, 134))
    for share in range(5):
        iteration = last * share // 4
        x, _ = place((iteration, low))
        pen.text((x - 12, height - bottom + 10), f"{iteration}", fill=(120, 126, 134))
    for index, (start, points) in enumerate(curves.items()):
        pen.line([place(point) for point in points], fill=COLORS[start], width=3)
        label = f"{start} start: {points[0][1]:.2f} to {points[-1][1]:.2f} dB"
        pen.text((width - 320, height - bottom - 50 + 20 * index), label, fill=COLORS[start])
    pen.text((left, 8), "PSNR on held-out frames, over the iterations of refinement", fill=(30, 34, 40))
    return picture


def main(options: Options) -> None:
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    sequence = read_sequence(options.folder)
    if options.scores:
        scores(sequence, options)
        return
    starts: tuple[Start, Start] = ("texture", "generator")
    curves = {start: curve(sequence, start, options) for start in starts}
    name = options.folder.stem
    write_json(options.output / f"{name}.starts.json", {start: points for start, points in curves.items()})
    with write_atomically(options.output / f"{name}.starts.png") as temporary:
        draw(curves).save(temporary, format="PNG")
    for start, points in curves.items():
        quarter = points[len(points) // 4]
        print(
            f"{start:10s} {points[0][1]:6.2f} dB, {quarter[1]:6.2f} after {quarter[0]}, {points[-1][1]:6.2f} in the end"
        )
    print(f"Look at: {options.output / f'{name}.starts.png'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
