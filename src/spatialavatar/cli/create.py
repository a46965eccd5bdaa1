"""`spatialavatar create`: photos or a video in, an avatar out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.grade import say_grade
from spatialavatar.cli.paths import check_inputs, named_output
from spatialavatar.cli.run import Common, say, warn
from spatialavatar.cli.stopped import Earlier
from spatialavatar.errors import UserError
from spatialavatar.products import check_outputs, check_replaceable_folder
from spatialavatar.text import shell_quoted
from spatialavatar.unfinished import tidy


@dataclass(frozen=True, kw_only=True)
class Create(Common):
    """Make an avatar from one video, or from 1 to 4 photos of one person, or from a folder that `spatialavatar track`
    made. Beside NAME.avatar it leaves NAME.preview.png (a picture of it), NAME.tracked/ (what was found in every
    frame) and NAME.report.json (every number).

    A good video: 10 to 60 seconds, the face large and well lit, the head turning slowly to both sides, some talking,
    a still background. Only make avatars of people who agreed to it.

    For example:
        spatialavatar create me.mp4
        spatialavatar create front.jpg left.jpg right.jpg -o me.avatar
        spatialavatar create me.mp4 --fast --consent "me, 2 May"
    """

    paths: Positional[Annotated[tuple[Path, ...], arg(metavar="PATH ...", help_behavior_hint="(required)")]]
    """A video, photos, or a tracked folder."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="NAME.avatar", help_behavior_hint="")] = None
    """Where to write it; by default the first input's name in this folder."""
    fast: bool = False
    """A usable avatar in minutes: a quarter of the Gaussians, 256 x 256 pixels, fewer iterations."""
    quick: bool = False
    """Refine a video in a third of the time, for nearly the same picture: 3,700 iterations with larger steps,
    half of them on pictures of half the size."""
    iterations: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Refinement iterations; by default 10,000 for a video, fewer for photos and with --quick or --fast."""
    minutes: Annotated[float | None, arg(metavar="MINUTES", help_behavior_hint="")] = None
    """Stop refining after this long."""
    until_plateau: bool = False
    """Stop refining when it no longer gets better."""
    refine_motion: bool = False
    """Let each frame's motion and focal length move a little with the avatar, where the tracking is not good enough.
    Also writes NAME.motion.safetensors, the motion that came of it; and held-out frames are scored twice: as tracked,
    and with their motion fitted to the finished avatar."""
    hold_out: Literal["none", "tail", "blocks"] = "none"
    """Keep frames from training and score the avatar on them: the last ones, or 10 of every 50."""
    start: Literal["auto", "generator", "texture"] = "auto"
    """What the avatar is before refinement: made by the generator, or the pictures themselves laid onto the head. auto:
    the generator for photos, or if --generator is given; the pictures of a video show enough."""
    generator: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """A generator of your own training, in place of the package's."""
    seed: int = 0
    """The same seed gives the same avatar."""
    consent: Annotated[str, arg(metavar="NOTE", help_behavior_hint="")] = ""
    """A note, kept in the file, on who agreed to this avatar being made."""
    resume: bool = False
    """Go on where a stopped run of the same command left off."""
    overwrite: bool = False
    """Track again, and replace the NAME.tracked of an earlier run."""

    def run(self) -> int | None:
        output = named_output(self.output, self.paths, ".avatar")
        tidy(output.parent)
        check_inputs(self.paths)
        check_outputs(products_of(output), self.paths)
        tracked = output.with_suffix(".tracked")
        tracks = not self.resume and not any(path.is_dir() for path in self.paths)
        if tracks and tracked.exists() and not self.overwrite:
            raise UserError(
                "the tracked frames of an earlier run are here.",
                where=tracked,
                hint=f"Use them: spatialavatar create {shell_quoted(tracked)} -o {shell_quoted(output)}; "
                "or track again: add --overwrite.",
            )
        if tracks:
            check_replaceable_folder(tracked, self.paths)
        earlier = Earlier.at(output, resume=self.resume, tracks=not any(path.is_dir() for path in self.paths))
        if (sentence := earlier.sentence()) is not None:
            warn(sentence)

        from spatialavatar.create import CreateOptions, create_avatar
        from spatialavatar.progress import Rich

        options = CreateOptions(
            fast=self.fast,
            quick=self.quick,
            iterations=self.iterations,
            hold_out=self.hold_out,
            start=self.start,
            generator=self.generator,
            minutes=self.minutes,
            until_plateau=self.until_plateau,
            refine_motion=self.refine_motion,
            seed=self.seed,
            consent=self.consent,
            resume=self.resume,
        )
        try:
            result = create_avatar(list(self.paths), output, options, Rich(), overwrite=self.overwrite)
        except KeyboardInterrupt as stopped:
            say(earlier.kept(stopped))
            raise
        say_grade(result.report.get("recording"))
        say_scores(result.report)
        say(f"Avatar:   {result.avatar_path}  ({len(result.avatar):,} Gaussians)")
        say(f"Picture:  {result.preview_path}")
        say(f"Numbers:  {result.report_path}")
        if result.motion_path is not None:
            say(f"Motion:   {result.motion_path}")
        say(f"Next:     spatialavatar render {shell_quoted(result.avatar_path)}")
        return None


def products_of(output: Path) -> list[Path]:
    """Every file that `create` and `refine` write for NAME.avatar, beside it."""
    endings = (".avatar", ".preview.png", ".report.json", ".checkpoint.safetensors", ".motion.safetensors")
    return [output.with_suffix(ending) for ending in endings]


def say_scores(report: dict[str, object]) -> None:
    """Held-out scores, where frames were held out."""
    held_out, start, fitted = report.get("held_out"), report.get("start"), report.get("held_out_fitted")
    if not isinstance(held_out, dict):
        return
    for name, score in held_out.items():
        before = start.get(name, {}).get("psnr") if isinstance(start, dict) else None
        gain = f", from {before:.2f} dB at the start" if isinstance(before, float) else ""
        say(f"Held out: {score['psnr']:.2f} dB PSNR, SSIM {score['ssim']:.3f} on {score['frames']} frames{gain}")
        if isinstance(fitted, dict):
            after = fitted[name]
            say(
                f"          {after['psnr']:.2f} dB, {after['ssim']:.3f} with their motion fitted to the finished avatar"
            )
