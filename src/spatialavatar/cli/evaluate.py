"""`spatialavatar evaluate`: how good avatars and other people's pictures are, in numbers, tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.heads import HeadOptions
from spatialavatar.cli.paths import check_inputs
from spatialavatar.cli.run import Common, say, warn
from spatialavatar.errors import UserError
from spatialavatar.files import only_one_makes
from spatialavatar.products import claim_folder
from spatialavatar.unfinished import tidy

if TYPE_CHECKING:
    from spatialavatar.evaluate.run import Options, Outcome

Background = Literal["white", "black", "grey"]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(HeadOptions, Common):
    """What all three ways of evaluating have in common."""

    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR")]
    """The folder to write: report.json, frames.csv, table.md, contact_sheet.png and the pictures. A run that was
    stopped goes on when it is started again with the same folder."""
    metrics: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Only these, for example psnr ssim; by default all whose weights are at hand."""
    quick: bool = False
    """Only PSNR, SSIM, MSE and PSNR above the chin: a tenth of the time."""
    background: Background = "white"
    """What pictures are shown over."""
    lpips: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Where LPIPS's weights lie (alexnet*.pth and alex.pth)."""
    arcface: Annotated[Path | None, arg(metavar="FILE.onnx", help_behavior_hint="")] = None
    """Your ArcFace network, for CSIM."""
    estimates: Annotated[tuple[Path, ...], arg(metavar="DIR ...", help_behavior_hint="")] = ()
    """What estimators of yours (Deep3DFaceRecon, face_alignment ...) found in the pictures: AED, APD and AKD are then
    measured by them, too. The files are described in docs/evaluation.md."""
    write_targets: bool = False
    """Write the targets beside the predictions (clips/NAME/targets), for your estimators to look at."""
    beside: Annotated[str | None, arg(metavar="TABLE", help_behavior_hint="")] = None
    """Show the paper's rows beside ours: vfhq_self, hdtf_self, splatting_avatar, ..."""

    def run(self) -> int | None:
        self.check()
        with only_one_makes(self.output):
            tidy(self.output, deep=True)
            return self.evaluate()

    def check(self) -> None:
        """Refuse what can be refused before any work, and make the folder.

        Raises:
            UserError: An input is missing, or the folder is another's.
        """
        raise NotImplementedError

    def evaluate(self) -> int | None:
        """Do it, while no other run writes into the same folder; returns an exit code, None for 0."""
        raise NotImplementedError

    def options(self) -> Options:
        from spatialavatar.evaluate.given import open_estimators
        from spatialavatar.evaluate.run import Options
        from spatialavatar.evaluate.score import QUICK
        from spatialavatar.evaluate.table import paper_table

        metrics = self.metrics or (QUICK if self.quick else ())
        beside = None if self.beside is None else paper_table(self.beside)
        given = open_estimators(self.estimates)
        return Options(
            self.background,
            metrics,
            self.lpips,
            self.arcface,
            beside,
            estimators=given,
            write_targets=self.write_targets,
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateSelf(EvaluateOptions):
    """Self-reenactment: an avatar made from one frame of a video (or some), against all later frames of it.

    For example:
        spatialavatar evaluate self me.mp4 --source-frame 0 --start texture -o scores
        spatialavatar evaluate self me.tracked --avatar me.avatar --targets tail -o scores
    """

    inputs: Positional[Annotated[tuple[Path, ...], arg(metavar="CLIP ...", help_behavior_hint="(required)")]]
    """Videos, tracked folders, or folders of either."""
    source_frame: Annotated[tuple[int, ...], arg(metavar="N ...", help_behavior_hint="")] = (0,)
    """The frames the avatar is made from."""
    start: Literal["texture", "generator"] = "texture"
    """How: from the frames' own pixels, or by the feed-forward generator."""
    checkpoint: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """A generator of yours; by default the one in the package."""
    avatar: Annotated[Path | None, arg(metavar="NAME.avatar", help_behavior_hint="")] = None
    """Score this avatar, made of the same person, instead of making one; or a folder with each clip's NAME.avatar."""
    count: Annotated[int | None, arg(metavar="K", help_behavior_hint="")] = None
    """Make the avatar from K frames of the first half, the first and those that look elsewhere."""
    targets: Literal["later", "second-half", "between", "tail", "blocks", "all"] = "later"
    """later: all frames after the sources. between: all but the sources and four frames spread over the clip. tail,
    blocks: what `create --hold-out` keeps from training."""
    protocol: Annotated[str | None, arg(metavar="ID", help_behavior_hint="")] = None
    """As a protocol says, with the paper's rows beside: vfhq-self-1, hdtf-self-1, splattingavatar-1, multi-source-2."""
    size: int = 512
    """Side of the frames of videos that are tracked first."""
    fast: bool = False
    """Track videos with fewer steps, and use a UV layout of 128."""

    def check(self) -> None:
        check_inputs([*self.inputs, *(path for path in (self.avatar, self.checkpoint) if path is not None)])
        claim_folder(self.output, "evaluate self", self.inputs)

    def evaluate(self) -> int | None:
        from spatialavatar.evaluate.follow import follow
        from spatialavatar.evaluate.protocol import load_protocol
        from spatialavatar.evaluate.run import evaluate_self, open_clips
        from spatialavatar.progress import Rich

        if self.count is not None and not 1 <= self.count <= 4:
            raise UserError(f"--count is {self.count}; expected 1 to 4 sources.")
        protocol = None if self.protocol is None else load_protocol(self.protocol)
        if protocol is not None and protocol.kind == "cross":
            raise UserError(f"the protocol {protocol.id} belongs to `evaluate cross`.")
        progress, head = Rich(), self.given_head()
        self.output.mkdir(parents=True, exist_ok=True)
        clips = open_clips(self.inputs, self.output, head=head, size=self.size, fast=self.fast, progress=progress)
        if protocol is not None:
            outcome = follow(
                protocol,
                clips,
                self.output,
                self.options(),
                start=self.start,
                avatars=self.avatar,
                checkpoint=self.checkpoint,
                head=head,
                resolution=128 if self.fast else 256,
                progress=progress,
            )
            say_outcome(outcome)
            return None
        outcome = evaluate_self(
            clips,
            self.output,
            self.options(),
            start=self.start,
            sources=self.source_frame,
            count=self.count,
            targets=self.targets,
            avatar_file=self.avatar,
            checkpoint=self.checkpoint,
            head=head,
            resolution=128 if self.fast else 256,
            progress=progress,
        )
        say_outcome(outcome)
        return None


@dataclass(frozen=True, kw_only=True)
class EvaluateCross(EvaluateOptions):
    """Cross-reenactment: every clip's avatar does what the next clip's person does, and the last what the first does.

    For example:
        spatialavatar evaluate cross clips/ -o scores
    """

    inputs: Positional[Annotated[tuple[Path, ...], arg(metavar="CLIP ...", help_behavior_hint="(required)")]]
    """Videos, tracked folders, or folders of either: two or more."""
    source_frame: Annotated[tuple[int, ...], arg(metavar="N ...", help_behavior_hint="")] = (0,)
    """The frames avatars are made from."""
    start: Literal["texture", "generator"] = "texture"
    """How: from the frames' own pixels, or by the feed-forward generator."""
    checkpoint: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """A generator of yours; by default the one in the package."""
    size: int = 512
    """Side of the frames of videos that are tracked first."""
    fast: bool = False
    """Track videos with fewer steps, and use a UV layout of 128."""
    protocol: Annotated[str | None, arg(metavar="ID", help_behavior_hint="")] = None
    """As a protocol says, with the paper's rows beside: vfhq-cross-1, hdtf-cross-1."""

    def check(self) -> None:
        check_inputs(self.inputs)
        claim_folder(self.output, "evaluate cross", self.inputs)

    def evaluate(self) -> int | None:
        from spatialavatar.evaluate.follow import follow
        from spatialavatar.evaluate.protocol import load_protocol, ring
        from spatialavatar.evaluate.run import evaluate_cross, open_clips
        from spatialavatar.progress import Rich

        protocol = None if self.protocol is None else load_protocol(self.protocol)
        if protocol is not None and protocol.kind != "cross":
            raise UserError(f"the protocol {protocol.id} belongs to `evaluate self`.")
        progress, head = Rich(), self.given_head()
        self.output.mkdir(parents=True, exist_ok=True)
        clips = open_clips(self.inputs, self.output, head=head, size=self.size, fast=self.fast, progress=progress)
        if protocol is not None:
            outcome = follow(
                protocol,
                clips,
                self.output,
                self.options(),
                start=self.start,
                checkpoint=self.checkpoint,
                head=head,
                resolution=128 if self.fast else 256,
                progress=progress,
            )
            say_outcome(outcome)
            return None
        outcome = evaluate_cross(
            ring(clips),
            self.output,
            self.options(),
            start=self.start,
            sources=self.source_frame,
            checkpoint=self.checkpoint,
            head=head,
            resolution=128 if self.fast else 256,
            progress=progress,
        )
        say_outcome(outcome)
        return None


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluateOptions):
    """Score pictures that any method made, against targets of the same names; or, with `self` and `cross` as the first
    word, make the pictures first (see `spatialavatar evaluate self --help`).

    For example:
        spatialavatar evaluate --predictions theirs/ --targets me.tracked -o scores
        spatialavatar evaluate self me.mp4 --source-frame 0 --start texture -o scores
    """

    predictions: Annotated[Path, arg(metavar="DIR")]
    """A folder of pictures, or a folder of such folders, one per clip."""
    targets: Annotated[Path, arg(metavar="DIR")]
    """Pictures of the same names, or a tracked folder, or a folder of either, one per clip."""
    mattes: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Mattes of the targets, where these are plain pictures: hair is scored by itself only with them."""
    label: Annotated[str, arg(metavar="NAME", help_behavior_hint="")] = ""
    """What the table calls the method; by default the folder's name."""

    def check(self) -> None:
        reads = [path for path in (self.predictions, self.targets, self.mattes) if path is not None]
        check_inputs(reads)
        claim_folder(self.output, "evaluate", reads)

    def evaluate(self) -> int | None:
        from spatialavatar.evaluate.run import evaluate_pictures, open_pictures
        from spatialavatar.progress import Rich

        self.output.mkdir(parents=True, exist_ok=True)
        clips = open_pictures(self.predictions, self.targets, self.mattes, self.background)
        label = self.label or self.predictions.resolve().name
        say_outcome(evaluate_pictures(clips, self.output, self.options(), label=label, progress=Rich()))
        return None


def say_outcome(outcome: Outcome) -> None:
    """The numbers, and where everything lies."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from spatialavatar.evaluate.table import heading

    table = Table("metric", "mean", "95 %", "frames", box=box.SIMPLE_HEAD)
    for name, mean in outcome.summary.means.items():
        title, factor, decimals = heading(name)
        shown = [f"{value * factor:.{decimals}f}" for value in (mean.mean, mean.low, mean.high)]
        table.add_row(title, shown[0], f"{shown[1]} .. {shown[2]}", str(mean.frames))
    Console().print(table)
    for note in outcome.notes:
        warn(note)
    say(f"Numbers:  {outcome.folder / 'report.json'}  (every frame: {outcome.folder / 'frames.csv'})")
    say(f"Table:    {outcome.folder / 'table.md'}")
    if (outcome.folder / "contact_sheet.png").exists():
        say(f"Look at:  {outcome.folder / 'contact_sheet.png'}")
