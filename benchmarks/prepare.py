"""A rehearsal of preparing many clips, with a process killed in the middle: nothing lost, nothing done twice.

    python benchmarks/prepare.py --clips 1000 -o rehearsal                 # Ray, two workers, one of them killed
    python benchmarks/prepare.py --clips 1000 -o rehearsal --processes     # the same by processes of this machine
    python benchmarks/prepare.py --clips 20 -o rehearsal --tracker         # with the tracker, on clips of a real face

Without --tracker it is a dry run: clips are cut, written as tracked folders and packed as ever, but nobody looks for a
face in them. What is measured is the machinery.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from spatialavatar.files import write_json
from spatialavatar.prepare.clip_sets import TrackOptions, list_clips, plan, prepare_clips, track_clip
from spatialavatar.prepare.cluster import LOCAL
from spatialavatar.prepare.shards import check_shards
from spatialavatar.sequence.video import write_video

# The dry run is the tests'; workers import it by its name.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@dataclass(frozen=True)
class Options:
    """What to rehearse."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where clips and results go; made anew."""
    clips: int = 1000
    """How many."""
    workers: int = 2
    """How many at once."""
    processes: bool = False
    """By processes of this machine instead of Ray."""
    tracker: bool = False
    """Track each clip, fast and at 128 x 128."""
    size: int = 32
    """Side of the clips of a dry run."""
    frames: int = 3
    """Frames of a clip."""
    kill: bool = True
    """Kill a process when half is done."""


class KillsInTheMiddle:
    """Progress that kills a process at work once half of the clips are done, and counts."""

    def __init__(self, folder: Path, half: int):
        self.folder, self.half, self.done, self.killed = folder, half, 0, 0
        self.pids: list[int] = []

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator:
        def advance(steps: int = 1, note: str = "") -> None:
            self.done += steps
            if name == "Preparing" and self.done >= self.half and not self.killed:
                self.killed = self.somebody_at_work()
            if name == "Preparing" and self.done % 100 == 0:
                print(f"{self.done} done", flush=True)

        yield advance

    def somebody_at_work(self) -> int:
        """Kill a process that is at a clip, if one can be caught; its id, or 0."""
        if self.pids:  # of this machine, and always at one
            chosen = self.pids[0]
        else:
            try:
                at = max((self.folder / "jobs").glob("*.attempts"), key=lambda path: path.stat().st_mtime_ns)
                chosen = int(json.loads(at.read_text())["process"])
            except (OSError, ValueError):  # nobody, or gone while we looked
                return 0
        os.kill(chosen, signal.SIGKILL)
        return chosen

    def note(self, text: str) -> None:
        print(text)


def tracked_and_told(name, piece, folder):
    """The real work, and a line about who finished it."""
    report = track_clip(name, piece, folder)
    logs = folder / "finished"
    logs.mkdir(exist_ok=True)
    with (logs / name).open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    return report


def make_clips(options: Options, folder: Path) -> None:
    """One small video, under many names."""
    folder.mkdir(parents=True)
    if options.tracker:
        import skimage.data

        face = np.asarray(skimage.data.astronaut())[:320]
        frames = [np.roll(face, shift, axis=1) for shift in range(options.frames)]
    else:
        frames = [np.full((options.size, options.size, 3), 100 + 40 * k, np.uint8) for k in range(options.frames)]
    first = folder / "clip_0000.mp4"
    write_video(first, frames, 25.0)
    for number in range(1, options.clips):
        (folder / f"clip_{number:04d}.mp4").write_bytes(first.read_bytes())


def main(options: Options) -> None:
    from tests.prepare.dry import dry_track

    place = options.output / ("tracker" if options.tracker else "dry")
    if place.exists():
        raise SystemExit(f"{place} exists already: remove it, or choose another -o")
    make_clips(options, place / "set")
    found, out = list_clips("videos", place / "set"), place / "out"
    track = TrackOptions(128, True)
    print(plan(found, options.workers, track, out).sentence())
    watch = KillsInTheMiddle(out, options.clips // 2 if options.kill else 10**9)
    began = time.perf_counter()
    outcome = prepare_clips(
        found,
        out,
        options=track,
        workers=options.workers,
        cluster=None if options.processes else LOCAL,
        work=tracked_and_told if options.tracker else dry_track,
        progress=watch,
        started=watch.pids.append,
    )
    seconds = time.perf_counter() - began
    finished = {path.name: len(path.read_text().splitlines()) for path in (out / "finished").iterdir()}
    told = {
        "by": "processes" if options.processes else "ray",
        "work": "tracker" if options.tracker else "dry run",
        "clips": len(found.clips),
        "done": len(outcome.done),
        "failed": len(outcome.failed),
        "processes_killed": int(bool(watch.killed)),
        "processes_died": outcome.deaths,
        "finished_more_than_once": sum(count > 1 for count in finished.values()),
        "never_finished": len({clip.name for clip in found.clips} - finished.keys()),
        "shards_wrong": check_shards(out / "shards"),
        "seconds": round(seconds, 1),
        "work_seconds": round(outcome.work_seconds, 1),
        "cores": os.cpu_count(),
    }
    began = time.perf_counter()
    again = prepare_clips(found, out, options=track, workers=options.workers, work=dry_track)
    told |= {
        "done_before_on_a_second_run": again.before,
        "seconds_of_a_second_run": round(time.perf_counter() - began, 1),
    }
    write_json(place / "result.json", told)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
