"""`spatialavatar prepare`: a set of clips in, tracked folders and shards out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.paths import check_inputs
from spatialavatar.cli.run import Common, say, warn
from spatialavatar.errors import UserError
from spatialavatar.products import claim_folder


@dataclass(frozen=True, kw_only=True)
class Prepare(Common):
    """Cut every clip of a set, track it, and pack the tracked folders into shards (tar files as WebDataset reads
    them). Says first how long it will take. Stopped runs go on where they were; a clip that fails is named in
    report.json and holds up no other.

    For example:
        spatialavatar prepare celebvhq sets/celebvhq -o prepared --workers 8
        spatialavatar prepare videos interviews -o prepared --plan
    """

    set_name: Positional[Annotated[Literal["celebvhq", "hdtf", "vfhq", "videos"], arg(metavar="SET")]]
    """Which: videos is any folder of videos, or of folders of frames."""
    folder: Positional[Annotated[Path, arg(metavar="FOLDER")]]
    """Where its lists and videos lie."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR")]
    """The folder to write: tracked/, shards/, report.json."""
    clips: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Only these."""
    workers: int = 1
    """How many processes; with --cluster, how many clips at once over all machines."""
    cluster: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="")] = None
    """Share the work out by Ray: `auto` or HOST:PORT of a running cluster, whose machines see all folders under the
    same paths, or `local` for this machine alone."""
    size: int = 512
    """Side of the tracked frames in pixels."""
    fast: bool = False
    """Track with fewer steps."""
    again: bool = False
    """Try what failed before once more."""
    plan: bool = False
    """Only say what it would take."""

    def run(self) -> int | None:
        check_inputs([self.folder])
        most = 4 * (os.cpu_count() or 1) if self.cluster in (None, "local") else 100_000
        if not 1 <= self.workers <= most:
            raise UserError(f"--workers is {self.workers}; expected 1 to {most}.")
        if self.size < 64:
            raise UserError(f"--size is {self.size}; expected 64 or more pixels.")

        from spatialavatar.prepare.clip_sets import TrackOptions, list_clips, plan, prepare_clips, reason
        from spatialavatar.progress import Rich

        options = TrackOptions(self.size, self.fast)
        found = list_clips(self.set_name, self.folder, self.clips)
        expected = plan(found, self.workers, options, self.output)
        say(expected.sentence())
        if not expected.fits:
            warn(f"only {expected.free_gigabytes:.1f} GB are free there.")
        for item in found.skipped[:5]:
            warn(f"not in the set: {item.where}: {item.why}")
        if self.plan:
            return None
        claim_folder(self.output, "prepare", [self.folder])
        outcome = prepare_clips(
            found,
            self.output,
            options=options,
            workers=self.workers,
            cluster=self.cluster,
            again=self.again,
            progress=Rich(),
        )
        for name, why in list(outcome.failed.items())[:5]:
            warn(f"{name} failed: {reason(why)}")
        say(f"Prepared: {len(outcome.done)} clips ({outcome.before} before), {len(outcome.failed)} failed")
        say(f"Numbers:  {self.output / 'report.json'}")
        if outcome.done:
            say(f"Shards:   {self.output / 'shards'}")
        return None if outcome.done else 1
