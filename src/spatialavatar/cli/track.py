"""`spatialavatar track`: photos or a video in, a tracked folder out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from spatialavatar.cli.paths import check_inputs, named_output
from spatialavatar.cli.run import Common, say
from spatialavatar.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Track(Common):
    """Find identity, expression, head pose, camera and matte in every frame of a video, or in photos of one person:
    the first thing `create` does. The folder is documented (docs/tracked_folder.md) and open to other tools; look at
    its overlay.mp4 first, which shows mesh and landmarks on the frames.

    For example:
        spatialavatar track me.mp4 -o me.tracked
        spatialavatar track front.jpg side.jpg
    """

    paths: Positional[Annotated[tuple[Path, ...], arg(metavar="PATH ...", help_behavior_hint="(required)")]]
    """A video, or photos of one person."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="NAME.tracked", help_behavior_hint="")] = None
    """Where to write the folder; by default the first input's name in this folder."""
    size: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Side of the cropped frames in pixels; by default 512, with --fast 256."""
    fast: bool = False
    """Fewer steps and smaller frames."""
    overwrite: bool = False
    """Replace a folder of this name."""

    def run(self) -> int | None:
        output = named_output(self.output, self.paths, ".tracked")
        check_inputs(self.paths)
        if output.exists() and not self.overwrite:
            raise UserError("this folder exists already.", where=output, hint="Add --overwrite, or another name: -o")
        if self.size is not None and not 64 <= self.size <= 2048:
            raise UserError(f"--size is {self.size}; expected 64 to 2048 pixels.")

        from spatialavatar.progress import Rich
        from spatialavatar.track import track

        size = self.size if self.size is not None else 256 if self.fast else 512
        sequence = track(
            list(self.paths), output=output, size=size, fast=self.fast, overwrite=self.overwrite, progress=Rich()
        )
        say(f"Tracked:  {output}  ({len(sequence)} frames of {sequence.width} x {sequence.height})")
        for name in ("overlay.mp4", "overlay.png"):
            if (output / name).exists():
                say(f"Look at:  {output / name}")
        say(f"Next:     spatialavatar create {output}")
        return None
