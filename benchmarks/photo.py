"""How long an avatar from one photo takes, models loaded and everything written, as `create --fast` does it.

    python benchmarks/photo.py one.jpg two.png -o photo-results/

Each photo is done several times, all in turn, in one process that has made an avatar before.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spatialavatar.create import CreateOptions, create_avatar


@dataclass(frozen=True)
class Options:
    """What to run."""

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Photos of one face each."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("photo-results")
    """Where avatars go."""
    rounds: int = 2
    """How often each photo is done."""


def main(options: Options) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    fast = CreateOptions(fast=True)
    create_avatar([options.photos[0]], options.output / "first.avatar", fast)
    seconds = []
    for number in range(options.rounds):
        for photo in options.photos:
            began, worked = time.perf_counter(), time.process_time()
            made = create_avatar([photo], options.output / f"{photo.stem}.{number}.avatar", fast)
            seconds.append(time.perf_counter() - began)
            stages = ", ".join(f"{name} {value}" for name, value in made.report["seconds_by_stage"].items())
            print(f"{photo.name:20s} {seconds[-1]:5.2f} s, processor {time.process_time() - worked:5.2f} s ({stages})")
    print(f"least {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
