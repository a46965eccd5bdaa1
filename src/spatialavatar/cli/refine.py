"""`spatialavatar refine`: an avatar and its subject's tracked frames in, a sharper avatar out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.create import products_of, say_scores
from spatialavatar.cli.heads import HeadOptions
from spatialavatar.cli.paths import check_inputs, named_output
from spatialavatar.cli.report import Stopwatch, write_report
from spatialavatar.cli.run import Common, say, warn
from spatialavatar.cli.stopped import Earlier
from spatialavatar.files import only_one_makes
from spatialavatar.products import check_outputs
from spatialavatar.text import shell_quoted
from spatialavatar.unfinished import tidy


@dataclass(frozen=True, kw_only=True)
class Refine(HeadOptions, Common):
    """Refine an avatar's Gaussians on the tracked frames of the same person; their number and their triangles stay.

    Stopped runs lose nothing: the state lies beside the output, and --resume goes on to the same numbers.

    For example:
        spatialavatar refine me.avatar me.tracked -o better.avatar --hold-out blocks
    """

    avatar: Positional[Annotated[Path, arg(metavar="NAME.avatar")]]
    """The avatar to start from."""
    tracked: Positional[Annotated[Path, arg(metavar="NAME.tracked")]]
    """The tracked folder, made with `spatialavatar track`."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="NAME.avatar")]
    """Where to write the refined avatar."""
    quick: bool = False
    """Refine on a video in a third of the time, for nearly the same picture: 3,700 iterations with larger steps, half
    of them on pictures of half the size."""
    iterations: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """How many; by default 10,000 for a video and 600 for photos."""
    minutes: Annotated[float | None, arg(metavar="MINUTES", help_behavior_hint="")] = None
    """Stop after this long."""
    until_plateau: bool = False
    """Stop when it no longer gets better."""
    refine_motion: bool = False
    """Let each frame's motion and focal length move a little with the avatar, where the tracking is not good enough.
    Also writes NAME.motion.safetensors, the motion that came of it; and held-out frames are scored twice: as tracked,
    and with their motion fitted to the finished avatar."""
    hold_out: Literal["none", "tail", "blocks"] = "none"
    """Keep frames from training and score the avatar on them: the last ones, or 10 of every 50."""
    seed: int = 0
    """The same seed gives the same avatar."""
    resume: bool = False
    """Go on where a stopped run of the same command left off."""

    def run(self) -> int | None:
        output = named_output(self.output, [], ".avatar")
        check_inputs([self.avatar, self.tracked])
        check_outputs(products_of(output), [self.avatar, self.tracked, *self.head_files()])
        earlier = Earlier.at(output, resume=self.resume)
        if (sentence := earlier.sentence()) is not None:
            warn(sentence)
        try:
            with only_one_makes(output):
                tidy(output.parent)
                return self._refine(output, earlier.checkpoint)
        except KeyboardInterrupt as stopped:
            say(earlier.kept(stopped))
            raise

    def _refine(self, output: Path, checkpoint: Path) -> int | None:
        watch = Stopwatch()

        from spatialavatar.avatar.file import save_avatar
        from spatialavatar.drive.motion_file import SUFFIX, write_motion
        from spatialavatar.drive.recording import recording_of_sequence
        from spatialavatar.progress import Rich
        from spatialavatar.refine import loop
        from spatialavatar.refine.config import RefineConfig, default_iterations, suited_to
        from spatialavatar.refine.preview import contact_sheet, save_picture
        from spatialavatar.sequence.folder import read_sequence

        avatar = self.open_avatar(self.avatar)
        sequence = read_sequence(self.tracked)
        config = RefineConfig(
            iterations=self.iterations or default_iterations(sequence.kind, quick=self.quick),
            minutes=self.minutes,
            until_plateau=self.until_plateau,
            refine_motion=self.refine_motion,
            hold_out=self.hold_out,
            seed=self.seed,
        )
        config = suited_to(sequence.kind, config, self.quick)
        picture = output.with_suffix(".preview.png")
        with Rich().stage("Refining", config.iterations) as advance:
            shown = 0

            def show(state: loop.IterationState) -> None:
                nonlocal shown
                advance(state.iteration - shown, note=f"loss {state.loss:.4f}")
                shown = state.iteration

            result = loop.refine(
                avatar,
                sequence,
                config,
                checkpoint=checkpoint,
                resume=self.resume and checkpoint.exists(),
                preview=lambda shown_now: save_picture(shown_now, picture),
                progress=show,
                note=say,
            )
        save_picture(contact_sheet(result.avatar), picture)
        save_avatar(result.avatar, output, preview_png=picture.read_bytes())
        report = write_report(output, "refine", self, {**result.report, "seconds": watch.seconds})
        say_scores(result.report)
        say(f"Avatar:   {output}")
        say(f"Picture:  {picture}")
        say(f"Numbers:  {report}")
        if config.refine_motion:
            recording = recording_of_sequence(result.sequence, avatar.head, output.stem)
            say(f"Motion:   {write_motion(recording, output.with_suffix(SUFFIX))}")
        # Only now: until everything is written, a run that is stopped or killed goes on from it.
        checkpoint.unlink(missing_ok=True)
        say(f"Next:     spatialavatar render {shell_quoted(output)}")
        return None
