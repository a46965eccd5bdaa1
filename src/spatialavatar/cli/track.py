"""`spatialavatar track`: photos or a video in, a tracked folder out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.grade import recording_of, say_grade
from spatialavatar.cli.paths import check_inputs, named_output
from spatialavatar.cli.run import Common, say
from spatialavatar.errors import UserError
from spatialavatar.products import check_replaceable_folder
from spatialavatar.text import shell_quoted
from spatialavatar.unfinished import tidy


@dataclass(frozen=True, kw_only=True)
class Track(Common):
    """Find identity, expression, head pose, camera and matte in every frame of a video, or in photos of one person:
    the first thing `create` does. The folder is documented (docs/tracked_folder.md) and open to other tools; look at
    its overlay.mp4 (overlay.png of photos) first, which shows mesh and landmarks on the frames.

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
    crop: Literal["auto", "face", "none"] = "auto"
    """face: around the head. none: the middle square of the frame. auto: face, unless the frame is square and close."""
    every: int = 1
    """Use every n-th frame of a video."""
    max_frames: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Use at most so many frames of a video."""
    focal: Annotated[float | None, arg(metavar="F", help_behavior_hint="")] = None
    """The lens, where it is known: focal length over the longer side of the picture, which is its equivalent on 35 mm
    film over 36 (a phone's 26 mm: 0.72). By default it is found out, to about a sixth."""
    fast: bool = False
    """Fewer steps, smaller frames, and no photometric stage."""
    photometric: Literal["auto", "on", "off"] = "auto"
    """Whether a video's tracking is improved by its pixels after landmarks and outline. auto: unless --fast."""
    overwrite: bool = False
    """Replace a folder of this name."""

    def run(self) -> int | None:
        output = named_output(self.output, self.paths, ".tracked")
        tidy(output.parent)
        check_inputs(self.paths)
        if output.exists() and not self.overwrite:
            raise UserError("this folder exists already.", where=output, hint="Add --overwrite, or another name: -o")
        check_replaceable_folder(output, self.paths)
        if self.size is not None and not 64 <= self.size <= 2048:
            raise UserError(f"--size is {self.size}; expected 64 to 2048 pixels.")
        if self.focal is not None and not 0.2 <= self.focal <= 20:
            raise UserError(
                f"--focal is {self.focal}; expected 0.2 to 20, the focal length over the longer side of the picture.",
                hint="Divide the lens's equivalent on 35 mm film by 36.",
            )
        if self.every < 1 or (self.max_frames is not None and self.max_frames < 1):
            raise UserError("--every and --max-frames must be at least 1.")

        from spatialavatar.progress import Rich
        from spatialavatar.track import track

        size = self.size if self.size is not None else 256 if self.fast else 512
        sequence = track(
            list(self.paths),
            output=output,
            size=size,
            crop=self.crop,
            fast=self.fast,
            overwrite=self.overwrite,
            every=self.every,
            max_frames=self.max_frames,
            focal=self.focal,
            photometric={"auto": None, "on": True, "off": False}[self.photometric],
            progress=Rich(),
        )
        say(f"Tracked:  {output}  ({len(sequence)} frames of {sequence.width} x {sequence.height})")
        for name in ("overlay.mp4", "overlay.png", "curves.png"):
            if (output / name).exists():
                say(f"Look at:  {output / name}")
        say_grade(recording_of(output))
        say(f"Next:     spatialavatar create {shell_quoted(output)}")
        return None
