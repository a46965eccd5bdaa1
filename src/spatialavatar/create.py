"""The main job, end to end: photos or a video in, an avatar file, a picture and a report out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import spatialavatar
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import save_avatar
from spatialavatar.drive.motion_file import SUFFIX as MOTION_SUFFIX
from spatialavatar.drive.motion_file import write_motion
from spatialavatar.drive.recording import recording_of_sequence
from spatialavatar.errors import UserError
from spatialavatar.files import only_one_makes, write_json
from spatialavatar.generate.checkpoint import ready_generator
from spatialavatar.generate.coarser import on_layout
from spatialavatar.generate.feed_forward import generate_avatar
from spatialavatar.generate.inputs import MOST_SOURCES
from spatialavatar.generate.texture_start import texture_start
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.input_files import read_json
from spatialavatar.memory import peak_memory_mb
from spatialavatar.progress import Progress, Silent
from spatialavatar.refine import loop
from spatialavatar.refine.config import HoldOut, RefineConfig, default_iterations, suited_to
from spatialavatar.refine.hold_out import split_frames
from spatialavatar.refine.preview import contact_sheet, save_picture
from spatialavatar.refine.reference_frame import quiet_and_elsewhere
from spatialavatar.sequence.folder import is_tracked_folder, read_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.text import printable, shell_quoted
from spatialavatar.track import track
from spatialavatar.unfinished import tidy

Start = Literal["auto", "generator", "texture"]


@dataclass(frozen=True)
class CreateOptions:
    """What `create` may be told."""

    fast: bool = False
    """UV 128, 256 x 256 pictures and fewer iterations: an avatar in minutes on two cores."""
    quick: bool = False
    """Fewer iterations with larger steps, everything else as ever: nearly the same picture in a third of the time."""
    iterations: int | None = None
    """Refinement iterations; by default 10,000 from a video, 600 from photos, fewer with --quick or --fast."""
    hold_out: HoldOut = "none"
    """Keep frames from training and score them: the last ones (tail), or the last 10 of every 50 (blocks)."""
    minutes: float | None = None
    """Stop refining after this long."""
    until_plateau: bool = False
    """Stop refining when the loss stops falling."""
    refine_motion: bool = False
    """Let each frame's motion and focal length move with the Gaussians, and write the motion that came of it."""
    sources: int = 4
    """Frames of a video from which the start is made (K, at most 4 in the paper)."""
    start: Start = "auto"
    """What the avatar is before refinement: a generator's output (Stage 1), the pictures laid onto the head (texture),
    or what suits: the generator's of photos and where one is given, else the texture (auto)."""
    generator: Path | None = None
    """A generator's file, in place of the one that comes with the package."""
    seed: int = 0
    """Seeds everything random."""
    consent: str = ""
    """A note, kept in the avatar's file, on who agreed to its being made."""
    resume: bool = False
    """Go on from the checkpoint that a stopped run left beside the output."""

    @property
    def resolution(self) -> int:
        return 128 if self.fast else 256

    @property
    def size(self) -> int:
        return 256 if self.fast else 512


@dataclass(frozen=True)
class CreateResult:
    """The avatar, where it and its by-products lie, and the report's contents."""

    avatar: Avatar
    avatar_path: Path
    preview_path: Path
    report_path: Path
    report: dict[str, Any]
    motion_path: Path | None = None
    """The refined motion, where it was refined."""


def refinement_of(sequence: TrackedSequence, options: CreateOptions) -> RefineConfig:
    """The refinement that fits the input: the paper's for a video, a short and careful one for photos."""
    config = RefineConfig(
        iterations=options.iterations or default_iterations(sequence.kind, options.fast, options.quick),
        seed=options.seed,
        hold_out=options.hold_out,
        minutes=options.minutes,
        until_plateau=options.until_plateau,
        refine_motion=options.refine_motion,
    )
    return suited_to(sequence.kind, config, options.quick)


def chosen_start(options: CreateOptions, sequence: TrackedSequence) -> Literal["generator", "texture"]:
    """What `auto` comes to: the generator for photos, of which it takes four, and where one was given.

    A photo says nothing of the sides and the back of a head, of which the generator has an idea. Videos end 0.3 dB
    higher from the generator's start (docs/refinement.md), but its residual head makes their steps a third longer.
    """
    if options.start != "auto":
        return options.start
    few = sequence.kind == "photos" and int(sequence.is_valid.sum()) <= MOST_SOURCES
    return "generator" if few or options.generator is not None else "texture"


def _with_a_face(sequence: TrackedSequence, frames: list[int]) -> list[int]:
    valid = sequence.is_valid
    usable = [frame for frame in frames if bool(valid[frame])]
    if not usable:
        raise UserError("no frame shows a face that could be tracked.", where=sequence.folder)
    return usable


def start_frames(sequence: TrackedSequence, head: Head, options: CreateOptions, training: list[int]) -> list[int]:
    """The frames a start is made from: the reference frame and those that look elsewhere, none held out; all photos.

    Raises:
        UserError: No frame shows a face.
    """
    usable = _with_a_face(sequence, training)
    if sequence.kind == "video":
        return quiet_and_elsewhere(sequence, head, usable, options.sources, options.seed)
    return usable


def start_avatar(
    sequence: TrackedSequence,
    head: Head,
    options: CreateOptions,
    training: list[int],
    progress: Progress | None = None,
) -> Avatar:
    """The start of a sequence, from `start_frames`.

    Raises:
        UserError: No frame shows a face, more than four photos were given to a generator, or it is for another head.
    """
    layout = build_uv_layout(head, options.resolution)
    frames = start_frames(sequence, head, options, training)
    if chosen_start(options, sequence) == "generator":
        generator = ready_generator(options.generator, head)
        avatar = on_layout(generate_avatar(sequence, generator, frames, progress), layout)
    else:
        avatar = texture_start(sequence, head, layout, frames, clothes=True).avatar
    usable = _with_a_face(sequence, training)
    return avatar.framed_like(
        sequence.motion[usable],
        sequence.camera_from_world[usable],
        sequence.intrinsics[usable],
        sequence.width,
        sequence.height,
    )


def create_avatar(
    inputs: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    options: CreateOptions | None = None,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
) -> CreateResult:
    """Make an avatar from photos, a video or a tracked folder.

    Beside `output` (NAME.avatar) it leaves NAME.tracked/ (unless a tracked folder was given), NAME.preview.png (while
    it refines, truth beside avatar; in the end, views and expressions) and NAME.report.json; and, if it is stopped
    after refinement began, NAME.checkpoint.safetensors to resume from. Without `overwrite` it is an error if
    NAME.tracked is there before, unless it resumes; with it, the old one is replaced once the new one is whole.

    Raises:
        UserError: For anything the user can mend.
        KeyboardInterrupt: It was stopped; see `refine.loop.refine`.
    """
    paths, output = [Path(path) for path in inputs], Path(output)
    with only_one_makes(output):
        tidy(output.parent)
        return _create(paths, output, options or CreateOptions(), progress or Silent(), overwrite)


def _sequence(
    paths: list[Path], tracked: Path, head: Head, options: CreateOptions, progress: Progress, overwrite: bool
) -> TrackedSequence:
    """The tracked frames: a folder that was given, those of the stopped run, or made now as `tracked`."""
    if len(paths) == 1 and is_tracked_folder(paths[0]):
        return read_sequence(paths[0])
    if options.resume and is_tracked_folder(tracked):
        sequence = read_sequence(tracked)
        _check_tracked_alike(sequence, paths, tracked, options)
        progress.note(f"Going on with {tracked}.")
        return sequence
    size = options.size
    return track(paths, output=tracked, head=head, size=size, fast=options.fast, overwrite=overwrite, progress=progress)


def _check_tracked_alike(sequence: TrackedSequence, paths: list[Path], tracked: Path, options: CreateOptions) -> None:
    """Frames to resume with must be those that this command would have tracked.

    Raises:
        UserError: They are of other files, or of another size.
    """
    quoted = shell_quoted(tracked)
    hint = f"Use them as they are: spatialavatar create {quoted}; or leave out --resume, and add --overwrite."
    files, wanted = sequence.source.get("files"), [path.name for path in paths]
    if files != wanted:
        named = printable(", ".join(map(str, files))) if isinstance(files, list) else "something else"
        raise UserError(f"these frames are of {named}, not of {', '.join(wanted)}.", where=tracked, hint=hint)
    if sequence.width != options.size:
        what = f"these frames are {sequence.width} pixels wide, and this command wants {options.size}."
        raise UserError(what, where=tracked, hint=f"Give the options of the stopped run. {hint}")


def _create(
    paths: list[Path], output: Path, options: CreateOptions, progress: Progress, overwrite: bool
) -> CreateResult:
    began = time.perf_counter()
    head = load_open_head()
    tracked, checkpoint = output.with_suffix(".tracked"), output.with_suffix(".checkpoint.safetensors")
    sequence = _sequence(paths, tracked, head, options, progress, overwrite)
    tracked_after = time.perf_counter()

    config = refinement_of(sequence, options)
    training, _ = split_frames(len(sequence), config.hold_out)
    name = "Generating" if chosen_start(options, sequence) == "generator" else "Texture start"
    with progress.stage(name, 1) as advance:
        avatar = start_avatar(sequence, head, options, training, progress)
        provenance = {
            **avatar.provenance,
            "made_by": "spatialavatar create",
            # A resumed run makes the same avatar, to the last bit.
            "options": {key: value for key, value in _plain(options).items() if key != "resume"},
            "sources": [path.name for path in paths],
            "consent": options.consent,
        }
        avatar = replace(avatar, provenance=provenance)
        advance()
    started_after = time.perf_counter()

    picture_path = output.with_suffix(".preview.png")
    resume = options.resume and checkpoint.exists()
    with progress.stage("Refining", config.iterations) as advance:
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
            resume=resume,
            preview=lambda picture: save_picture(picture, picture_path),
            progress=show,
            note=progress.note,
        )
    avatar = result.avatar
    motion_path = None
    if config.refine_motion:
        motion_path = output.with_suffix(MOTION_SUFFIX)
        write_motion(recording_of_sequence(result.sequence, head, output.stem), motion_path)

    save_picture(contact_sheet(avatar), picture_path)
    save_avatar(avatar, output, preview_png=picture_path.read_bytes())
    finished = time.perf_counter()
    report = {
        "command": "create",
        "version": spatialavatar.__version__,
        "inputs": [path.name for path in paths],
        "options": _plain(options),
        **result.report,
        "peak_memory_mb": peak_memory_mb(),
        "seconds": round(finished - began, 1),
        "seconds_by_stage": {
            "track": round(tracked_after - began, 1),
            "start": round(started_after - tracked_after, 1),
            "refine": round(finished - started_after, 1),
        },
    }
    if sequence.folder is not None and (sequence.folder / "report.json").exists():
        tracking = read_json(sequence.folder / "report.json")
        kept = ("landmark_error", "tracking", "recording", "warnings")
        report.update({key: tracking[key] for key in kept if key in tracking})
    report_path = output.with_suffix(".report.json")
    write_json(report_path, report)
    # Only now: until everything is written, a run that is stopped or killed goes on from it.
    checkpoint.unlink(missing_ok=True)
    return CreateResult(avatar, output, picture_path, report_path, report, motion_path)


def _plain(options: CreateOptions) -> dict[str, Any]:
    """The options as JSON values; of a file only its name."""
    return {key: value.name if isinstance(value, Path) else value for key, value in asdict(options).items()}
