"""How cost grows with Gaussians, picture size, threads and frames: numbers and a plot.

    python benchmarks/growth.py -o growth            # growth.json and growth.png, about five minutes
    python benchmarks/growth.py --from growth.json   # the plot again

Times are minima of the repeats, which neighbours on a shared machine disturb least.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import spatialavatar  # noqa: F401  (before torch: it sets how torch's threads wait)

# isort: split
import numpy as np
import torch

from spatialavatar.bench import machine, step_of, steps, subject, threads_set, timed
from spatialavatar.refine.frame_store import load_frames

GAUSSIANS = (15_000, 30_000, 58_000, 120_000, 250_000, 500_000, 1_000_000)
SIZES = (256, 512, 1024, 2048)
FRAMES = (100, 1_000, 10_000)
STORE_LIMIT = 256 << 20
"""Bytes of frames that this benchmark lets the store keep; refinement's own limit is 2 GB."""


def draw_and_step(size: int, gaussians: int, threads: int, seconds: float) -> dict[str, float]:
    """Milliseconds of drawing a frame and of a refinement step."""
    avatar, sequence = subject(size, gaussians, frames=2)
    with threads_set(threads):
        stream = avatar.stream(sequence.camera(0))
        frame = sequence.motion[0]
        draw = timed(lambda: stream.draw(frame), seconds, least=4)
        step = timed(steps(step_of(avatar, sequence)), seconds, least=4)
    return {"gaussians": len(avatar), "draw": draw.minimum, "step": step.minimum}


def memory_of_frames(count: int) -> dict[str, float]:
    """MB that the store of so many frames keeps, and ms that a frame in random order takes out of it."""
    _, sequence = subject(256, 2_000, frames=1)
    names = tuple(f"{index:05d}" for index in range(count))
    only = sequence.names[0]

    class Repeated:
        def image(self, name: str) -> np.ndarray:
            return sequence.frames.image(only)  # type: ignore[union-attr]

        def matte(self, name: str) -> np.ndarray:
            return sequence.frames.matte(only)  # type: ignore[union-attr]

    long = replace(
        sequence,
        names=names,
        frames=Repeated(),
        motion=sequence.motion[torch.zeros(count, dtype=torch.long)],
        camera_from_world=sequence.camera_from_world.expand(count, 4, 4),
        intrinsics=sequence.intrinsics.expand(count, 3, 3),
    )
    store = load_frames(long, list(range(count)), STORE_LIMIT)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()[:500]
    began = time.perf_counter()
    for index in order:
        store.frames[index]
    return {"kept_mb": store.nbytes / 2**20, "ms": 1e3 * (time.perf_counter() - began) / len(order)}


def measure(seconds: float) -> dict[str, Any]:
    most = os.cpu_count() or 1
    counts = sorted({1, *(2**k for k in range(1, 5) if 2**k <= most), most})
    results: dict[str, Any] = {"machine": machine()}
    results["gaussians"] = [draw_and_step(512, count, most, seconds) for count in GAUSSIANS]
    results["sizes"] = [{"size": size, **draw_and_step(size, 58_000, most, seconds)} for size in SIZES]
    results["threads"] = [{"threads": count, **draw_and_step(512, 58_000, count, seconds)} for count in counts]
    results["frames"] = [{"frames": count, **memory_of_frames(count)} for count in FRAMES]
    results["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return results


def plot(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(15, 3.4))
    for axis, (key, x, label) in zip(
        axes,
        (
            ("gaussians", "gaussians", "Gaussians (512 x 512)"),
            ("sizes", "size", "side of the picture, pixels"),
            ("threads", "threads", "threads"),
        ),
        strict=False,
    ):
        for name, what in (("step", "refinement step"), ("draw", "pose and draw")):
            axis.plot([row[x] for row in results[key]], [row[name] for row in results[key]], "o-", label=what)
        axis.set(xlabel=label, ylabel="ms", xscale="log", yscale="log" if key != "threads" else "linear")
        if key != "gaussians":
            values = [row[x] for row in results[key]]
            axis.set_xticks(values, [str(value) for value in values])
            axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend()
    frames = results["frames"]
    axes[3].plot([row["frames"] for row in frames], [row["kept_mb"] for row in frames], "o-")
    axes[3].axhline(STORE_LIMIT / 2**20, color="grey", linestyle="--")
    axes[3].set(xlabel="frames (256 x 256), limit 256 MB", ylabel="MB kept", xscale="log")
    axes[3].grid(alpha=0.3)
    known = results["machine"]
    figure.suptitle(f"{known['processor']}, {known['threads']} threads, {known['instruction_set']}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("growth"))
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--from", dest="known", type=Path, help="numbers of an earlier run: only plot them")
    arguments = parser.parse_args()
    if arguments.known:
        results = json.loads(arguments.known.read_text())
    else:
        results = measure(arguments.seconds)
        arguments.output.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results, arguments.output.with_suffix(".png"))
    for key in ("gaussians", "sizes", "threads", "frames"):
        for row in results[key]:
            print(key, {name: round(value, 2) for name, value in row.items()})


if __name__ == "__main__":
    main()
