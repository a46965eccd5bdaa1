"""What the photometric stage of tracking is worth to an avatar: held-out PSNR after a short refinement.

python benchmarks/tracking_worth.py me.mp4 you.mp4 -o worth/                  # landmarks only, and the whole tracking
python benchmarks/tracking_worth.py me.mp4 --visits 12 20 30 -o worth/        # how often each frame is visited
python benchmarks/tracking_worth.py me.mp4 --visits 36 --set rigid=1 size=512 # other numbers of PhotometricConfig

Each video is observed and fitted once, by landmarks and outlines alone, and kept; each number of visits starts from
there. The avatars are those of `--fast` (UV 128) after 1,500 steps, the last ten of every fifty frames held out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
import tyro
from changes import changed
from noise import noise_line

from spatialavatar.create import CreateOptions, start_avatar
from spatialavatar.files import write_json
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.open_head import load_open_head
from spatialavatar.input_files import read_json
from spatialavatar.progress import Rich
from spatialavatar.refine.config import RefineConfig, suited_to
from spatialavatar.refine.hold_out import split_frames
from spatialavatar.refine.loop import IterationState, refine
from spatialavatar.sequence.folder import REPORT_FILE, read_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.track import track
from spatialavatar.track.measure import jitter, landmark_error
from spatialavatar.track.photometric import PhotometricConfig, fit_photometric, photometric_steps
from spatialavatar.track.steady import picture_motion


@dataclass(frozen=True)
class Options:
    """What to run."""

    videos: tyro.conf.Positional[tuple[Path, ...]]
    """Videos of one person each."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("tracking-worth")
    """Where trackings and results go; what is there already is not done again."""
    visits: tuple[float, ...] = (0, PhotometricConfig().passes)
    """How often the photometric stage visits each frame; 0: not at all."""
    set: tuple[str, ...] = ()
    """Numbers of PhotometricConfig, NAME=VALUE."""
    steps: int = 1500
    """Of refinement."""
    seeds: int = 1
    """Avatars of each tracking, with the seeds 0, 1, ...: their noise is printed."""


def main(options: Options) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    head, progress = load_open_head(), Rich()
    rows = []
    config = changed(PhotometricConfig(), options.set)
    for video in options.videos:
        folder = options.output / f"{video.stem}.tracked"
        if not (folder / REPORT_FILE).exists():
            track([video], output=folder, head=head, photometric=False, overwrite=True, progress=progress)
        for visits in options.visits:
            tag = ".".join([video.stem, f"{visits:g}", *options.set, str(options.steps)])
            if options.seeds > 1:
                tag += f".{options.seeds}-seeds"
            result_file = options.output / f"{tag}.json"
            if not result_file.exists():
                settings = replace(config, passes=visits)
                write_json(result_file, measure(folder, head, settings, options.steps, options.seeds, progress))
            rows.append((video.stem, visits, read_json(result_file)))
    print(f"{'video':24s} {'visits':>6s} {'PSNR':>6s} {'chin':>6s} {'landmarks':>9s} {'jitter':>6s} {'CPU s':>6s}")
    for name, visits, found in rows:
        print(
            f"{name:24s} {visits:6g} {found['psnr']:6.2f} {found['psnr_above_chin'] or float('nan'):6.2f} "
            f"{found['landmarks']:9.4f} {found['jitter']:6.2f} {found['cpu_seconds']:6.0f}"
        )
    for name, visits, found in rows:
        print(noise_line(f"{name}, {visits:g} visits", found["each_seed"]))


def measure(
    folder: Path, head: Head, config: PhotometricConfig, steps: int, seeds: int, progress: Rich
) -> dict[str, Any]:
    """Scores of the avatar that this tracking gives, and how good the tracking itself is."""
    sequence, embedding = read_sequence(folder), load_landmarks(head)
    cuts = tuple(read_json(folder / REPORT_FILE)["cuts"])
    torch.set_num_threads(1)
    drift = picture_motion(sequence, embedding, cuts)
    began = time.process_time()
    if config.passes > 0:
        with progress.stage(f"{folder.stem}, {config.passes:g} visits", photometric_steps(config, sequence)) as advance:
            sequence = fit_photometric(sequence, head, config, advance, cuts=cuts, drift=drift)
    seconds = time.process_time() - began
    scores = [refined(sequence, head, steps, seed, progress) for seed in range(seeds)]
    above = [score["psnr_above_chin"] for score in scores if score["psnr_above_chin"] is not None]
    return {
        "psnr": mean(score["psnr"] for score in scores),
        "psnr_above_chin": mean(above) if above else None,
        "each_seed": scores,
        "landmarks": landmark_error(sequence, head, embedding).report()["median"],
        "jitter": jitter(sequence, head, embedding, drift),
        "cpu_seconds": round(seconds, 1),
    }


def refined(sequence: TrackedSequence, head: Head, steps: int, seed: int, progress: Rich) -> dict[str, Any]:
    """Held-out PSNR, whole and above the chin, and SSIM."""
    training, _ = split_frames(len(sequence), "blocks")
    avatar = start_avatar(sequence, head, CreateOptions(fast=True, seed=seed), training)
    config = replace(suited_to("video", RefineConfig(iterations=steps, seed=seed)), hold_out="blocks")
    with progress.stage("Refinement", steps) as advance:

        def show(state: IterationState) -> None:
            if state.iteration % 20 == 0:
                advance(20)

        found = refine(avatar, sequence, config, progress=show).held_out
    assert found is not None
    return {"psnr": found.psnr, "psnr_above_chin": found.psnr_above_chin, "ssim": found.ssim}


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
