"""Refine tracked videos with frames held out, and print what came of it.

    python benchmarks/stage2.py me.tracked you.tracked --hold-out blocks tail -o results/
    python benchmarks/stage2.py me.tracked --hold-out blocks --ablate -o results/     # the paper's Table 9
    python benchmarks/stage2.py me.tracked --hold-out blocks --seeds 3 -o results/    # with the noise of its scores

Each run leaves NAME.HOLD_OUT[.VARIANT][.seedN].{avatar,png,json} in the output folder; finished runs are not run again.
With several seeds the scores' standard deviation over them is printed: differences below twice that say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from noise import noise_line

from spatialavatar.avatar.file import save_avatar
from spatialavatar.create import CreateOptions, Start, start_avatar
from spatialavatar.files import write_json
from spatialavatar.head.open_head import load_open_head
from spatialavatar.input_files import read_json
from spatialavatar.memory import peak_memory_mb
from spatialavatar.progress import Rich
from spatialavatar.refine.config import HoldOut, RefineConfig, default_iterations, suited_to
from spatialavatar.refine.held_out import draw, over_white
from spatialavatar.refine.hold_out import split_frames
from spatialavatar.refine.loop import IterationState, refine
from spatialavatar.refine.preview import contact_sheet, save_picture
from spatialavatar.sequence.folder import read_sequence


@dataclass(frozen=True)
class Options:
    """What to run."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Tracked folders."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("stage2-results")
    """Where results go."""
    hold_out: tuple[HoldOut, ...] = ("blocks", "tail")
    """Protocols."""
    ablate: bool = False
    """Also leave out each anti-spike part in turn."""
    seeds: int = 1
    """Runs of each, with the seeds 0, 1, ... counted from that of the configuration."""
    tag: str = ""
    """Put into the results' names, to compare settings."""
    fast: bool = False
    """UV 128 instead of 256."""
    quick: bool = False
    """As `create --quick` does it: fewer iterations, with steps that suit them."""
    start: Start = "auto"
    """What is refined."""
    config: RefineConfig = field(default_factory=RefineConfig)
    """Numbers of the run."""


def variants(config: RefineConfig, ablate: bool) -> dict[str, RefineConfig]:
    """The configuration itself and, for the ablation, three with one part left out."""
    if not ablate:
        return {"": config}
    spike = config.anti_spike
    return {
        "": config,
        "no-freeze": replace(config, anti_spike=replace(spike, freeze_iterations=0)),
        "no-clamp": replace(config, anti_spike=replace(spike, clamp=False)),
        "no-aspect": replace(config, anti_spike=replace(spike, aspect_weight=0.0)),
    }


def main(options: Options) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    head = load_open_head()
    rows = []
    groups: dict[str, list[dict]] = {}
    for folder in options.folders:
        sequence = read_sequence(folder)
        for hold_out in options.hold_out:
            base = replace(options.config, hold_out=hold_out)
            if options.quick:
                base = suited_to(sequence.kind, replace(base, iterations=default_iterations("video", quick=True)), True)
            for variant, seed, config in seeded(variants(base, options.ablate), options.seeds):
                group = ".".join(part for part in (folder.stem, hold_out, variant, options.tag) if part)
                name = f"{group}.seed{seed}" if seed else group
                result_file = options.output / f"{name}.json"
                if not result_file.exists():
                    training, held = split_frames(len(sequence), hold_out)
                    choice = CreateOptions(fast=options.fast, start=options.start, seed=config.seed)
                    avatar = start_avatar(sequence, head, choice, training)
                    with Rich().stage(name, config.iterations) as advance:

                        def show(state: IterationState, advance=advance) -> None:
                            if state.iteration % 20 == 0:
                                advance(20, note=f"loss {state.loss:.4f}")

                        result = refine(avatar, sequence, config, progress=show)
                    picks = held[:: max(1, len(held) // 6)][:6]
                    with torch.no_grad():
                        rows_of_picture = [
                            torch.cat([over_white(sequence, frame) for frame in picks], 1),
                            torch.cat([draw(avatar, sequence, frame) for frame in picks], 1),
                            torch.cat([draw(result.avatar, sequence, frame) for frame in picks], 1),
                        ]
                    save_picture(torch.cat(rows_of_picture), options.output / f"{name}.held-out.png")
                    save_picture(contact_sheet(result.avatar), options.output / f"{name}.png")
                    save_avatar(result.avatar, options.output / f"{name}.avatar")
                    write_json(result_file, {**result.report, "peak_memory_mb": peak_memory_mb()})
                report = read_json(result_file)
                rows.append((name, report, hold_out))
                groups.setdefault(group, []).append(report["held_out"][hold_out])
    columns = (
        ("start", 6),
        ("PSNR", 6),
        ("SSIM", 6),
        ("chin", 6),
        ("aspect", 9),
        ("on way", 9),
        ("ms/it", 6),
        ("MB", 6),
    )
    print(f"{'run':44s} " + " ".join(f"{name:>{width}s}" for name, width in columns))
    for name, report, hold_out in rows:
        held, start = report["held_out"][hold_out], report["start"][hold_out]
        print(
            f"{name:44s} {start['psnr']:6.2f} {held['psnr']:6.2f} {held['ssim']:6.4f} "
            f"{held['psnr_above_chin'] or float('nan'):6.2f} {report['max_aspect']:9.2f} "
            f"{report['max_aspect_on_the_way']:9.2f} {report['ms_per_iteration']:6.1f} {report['peak_memory_mb']:6.0f}"
        )
    for group, scores in groups.items():
        print(noise_line(group, scores))


def seeded(configs: dict[str, RefineConfig], seeds: int) -> Iterator[tuple[str, int, RefineConfig]]:
    """Every variant with every seed: its name, how far the seed is from the configuration's own, and its settings."""
    for variant, config in configs.items():
        for seed in range(seeds):
            yield variant, seed, replace(config, seed=config.seed + seed)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
