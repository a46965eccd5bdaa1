"""`spatialavatar synth`: sets of made-up people to train and evaluate on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.report import Stopwatch
from spatialavatar.cli.run import Common, say


@dataclass(frozen=True, kw_only=True)
class Synth(Common):
    """Make a set of people who do not exist, with exact cameras, mattes and motion, to train a generator on.

    monocular   many people, each talking before one camera
    multiview   17 people, each seen by 16 cameras at the same times
    held_out    people and lights that neither of the two has, to evaluate on

    Every subject is an ordinary tracked folder for each camera (docs/tracked_folder.md), drawn by a mesh renderer. One
    seed gives one set, to the byte, whatever the number of workers. A run that was stopped goes on where it was when
    the same command is given again; with more --subjects it adds the rest.

    For example:
        spatialavatar synth monocular -o sets/monocular --subjects 50 --frames 12
        spatialavatar synth multiview -o sets/multiview
        spatialavatar synth held_out -o sets/held_out
    """

    set: Positional[Annotated[Literal["monocular", "multiview", "held_out"], arg(metavar="SET")]]
    """monocular, multiview or held_out."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="FOLDER", help_behavior_hint="(required)")]
    """The set's folder; made if it is not there."""
    subjects: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """How many people; by default 200, 17 and 16."""
    frames: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Frames of each; by default 16, 8 and 16."""
    cameras: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Cameras, on an arc where there is more than one; by default 1, 16 and 1."""
    size: int = 256
    """Side of the pictures in pixels."""
    frame_rate: float = 5.0
    """Frames per second. Few give a short sequence more different faces."""
    seed: int = 0
    """Another seed, other people."""
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Processes that work side by side, 0.5 GB each; by default one for each processor."""

    def run(self) -> int | None:
        from spatialavatar.progress import Rich
        from spatialavatar.synth.make import DEFAULTS, SetPlan, make_set

        subjects, frames, cameras = DEFAULTS[self.set]
        plan = SetPlan(
            name=self.set,
            subjects=subjects if self.subjects is None else self.subjects,
            frames=frames if self.frames is None else self.frames,
            cameras=cameras if self.cameras is None else self.cameras,
            size=self.size,
            frame_rate=self.frame_rate,
            seed=self.seed,
        )
        watch = Stopwatch()
        workers = _processors() if self.workers is None else self.workers
        make_set(plan, self.output, workers=workers, progress=Rich())
        pictures = plan.subjects * plan.frames * plan.cameras
        say(f"Set:      {self.output}  ({plan.subjects} people, {pictures:,} pictures, {watch.seconds:.0f} s)")
        say(f"Look at:  {self.output / 'sheet.png'}")
        return None


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
