"""Evaluations from end to end: clips in, a folder of pictures, numbers and tables out. A stopped run goes on."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spatialavatar
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import load_avatar, save_avatar
from spatialavatar.errors import UserError
from spatialavatar.evaluate.frames import CHOICES, Choice, Targets, targets_of
from spatialavatar.evaluate.given import GivenEstimator, with_estimators
from spatialavatar.evaluate.pictures import SUFFIXES, FolderPictures, Pictures, SequencePictures, target_of
from spatialavatar.evaluate.reenact import (
    Start,
    check_sources,
    make_avatar,
    predict_cross,
    predict_self,
    save_png,
)
from spatialavatar.evaluate.report import Summary, as_dict, summarise, write_scores
from spatialavatar.evaluate.score import Scores, Tools, open_tools, score_pictures
from spatialavatar.evaluate.sheet import contact_sheet
from spatialavatar.evaluate.table import PaperTable, markdown
from spatialavatar.files import write_atomically, write_json
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.input_files import read_json
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.folder import is_tracked_folder, read_sequence
from spatialavatar.sequence.media import is_called_video, is_video
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.sets import SET_FILE, read_set


@dataclass(frozen=True)
class Options:
    """What all evaluations may be told."""

    background: str = "white"
    metrics: tuple[str, ...] = ()
    lpips: Path | None = None
    arcface: Path | None = None
    beside: PaperTable | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    estimators: tuple[GivenEstimator, ...] = ()
    """Whose findings to measure AED, APD and AKD by, beside ours."""
    write_targets: bool = False
    """Write the targets beside the predictions, over the same background, for estimators of yours to look at."""
    keep: tuple[str, ...] = ()
    """Leave out what is not among these; without weights, these are left out too, where `metrics` would insist."""


@dataclass(frozen=True)
class Outcome:
    """What was measured, and where it lies."""

    summary: Summary
    contents: dict[str, Any]
    folder: Path
    notes: tuple[str, ...]


def open_clips(
    inputs: Sequence[Path],
    output: Path,
    *,
    head: Head | None = None,
    size: int = 512,
    fast: bool = False,
    progress: Progress | None = None,
) -> list[TrackedSequence]:
    """Tracked sequences from tracked folders, folders of such, and videos, which are tracked into `output/tracked`.

    Raises:
        UserError: Something is none of these, or two clips have one name.
    """
    found: list[Path] = []
    for path in inputs:
        if is_tracked_folder(path):
            found.append(path)
        elif path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if is_tracked_folder(entry))
            if not inside and (path / SET_FILE).is_file():
                inside = [folder for subject in read_set(path).subjects for folder in subject.folders]
            inside = inside or sorted(entry for entry in path.iterdir() if is_called_video(entry))
            if not inside:
                raise UserError("this folder holds neither tracked folders nor videos.", where=path)
            found += inside
        elif is_video(path):
            found.append(path)
        else:
            raise UserError("expected a video or a tracked folder.", where=path)
    names = [clip_name(path) for path in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two clips are called {name!r}.", hint="Rename one: results are kept by name.")
    return [_tracked(path, output, head, size, fast, progress) for path in found]


def _tracked(
    path: Path, output: Path, head: Head | None, size: int, fast: bool, progress: Progress | None
) -> TrackedSequence:
    if is_tracked_folder(path):
        return read_sequence(path)
    folder = output / "tracked" / f"{path.stem}.tracked"
    if is_tracked_folder(folder):
        return read_sequence(folder)
    from spatialavatar.track import track

    folder.parent.mkdir(parents=True, exist_ok=True)
    return track([path], output=folder, head=head, size=size, fast=fast, progress=progress)


def open_pictures(predictions: Path, targets: Path, mattes: Path | None, background: str) -> list[Pictures]:
    """The clips of two folders: pictures against pictures or a tracked folder, or sub-folders of the same names.

    Raises:
        UserError: The two do not belong together.
    """
    if is_tracked_folder(targets):
        sequence = read_sequence(targets)
        return [SequencePictures(predictions, sequence, tuple(range(len(sequence))), background, _name(sequence))]
    if any(path.suffix.lower() in SUFFIXES for path in targets.iterdir()):
        return [FolderPictures(predictions, targets, mattes, background)]
    inside = sorted(path for path in targets.iterdir() if path.is_dir() and not path.name.startswith("."))
    found: list[Pictures] = []
    for target in inside:
        name = target.stem if is_tracked_folder(target) else target.name
        if not (predictions / name).is_dir():
            raise UserError(
                f"there is no folder of predictions for the clip {name!r}.",
                where=predictions / name,
                hint="Give one folder per clip, named as the clips of --targets.",
            )
        found += open_pictures(predictions / name, target, None if mattes is None else mattes / name, background)
    if not found:
        raise UserError("this folder holds no pictures, no tracked folder and no clips.", where=targets)
    return found


def head_of(sequence: TrackedSequence, head: Head | None) -> Head:
    """The head a sequence was tracked with: the given one, or the built-in one.

    Raises:
        UserError: It is neither.
    """
    for known in (head, load_open_head()):
        if known is not None and known.edition == sequence.head_edition:
            return known
    raise UserError(
        f"these frames were tracked with the head {sequence.head_edition}, which is not at hand.",
        where=sequence.folder,
        hint="Give its file with --head.",
    )


def evaluate_self(
    clips: Sequence[TrackedSequence],
    output: Path,
    options: Options,
    *,
    start: Start = "texture",
    sources: tuple[int, ...] = (0,),
    count: int | None = None,
    choice: Choice = "first-half",
    targets: Targets = "later",
    avatar_file: Path | None = None,
    checkpoint: Path | None = None,
    head: Head | None = None,
    resolution: int = 256,
    progress: Progress | None = None,
) -> Outcome:
    """Self-reenactment (§4): an avatar of each clip's source frames, or a ready one, against the clip's own frames.

    Args:
        clips: Tracked sequences.
        output: The folder to write.
        options: Background, metrics, the paper's table beside.
        start: How avatars are made.
        sources: Source frames.
        count: K: take so many frames of each clip instead, as `choice` says.
        choice: Of the first half the first one and those that look elsewhere; or the first ones of four spread over the
            whole clip.
        targets: Every frame after the sources, the second half, all but the four that are spread over the clip, the
            held-out frames of a protocol, or all.
        avatar_file: Score this avatar instead of making one from each clip; in a folder, each clip's NAME.avatar.
        checkpoint: A generator's file.
        head: The head, where it is not the built-in one.
        resolution: Of the UV layout.
        progress: Where to show how far it is.

    Raises:
        UserError: A source frame is not there or has no face; a clip has no frame to predict; see `score_pictures`.
    """
    progress = progress or Silent()
    began = time.perf_counter()
    chosen = [sources if count is None else CHOICES[choice](clip, count) for clip in clips]
    for clip, own_sources in zip(clips, chosen, strict=True):
        if avatar_file is None:
            check_sources(clip, own_sources)
        targets_of(clip, targets, own_sources)
    timings: dict[str, dict[str, float | None]] = {}
    known = all(clip.landmarks is not None for clip in clips)
    with _tools(options, known) as tools:
        scored: list[tuple[Pictures, Scores]] = []
        for clip, own_sources in zip(clips, chosen, strict=True):
            own, frames = head_of(clip, head), targets_of(clip, targets, own_sources)
            folder = output / "clips" / _name(clip)
            making = _Making(clip, own, start, own_sources, resolution, checkpoint, avatar_file)
            avatar, seconds, settings = making.avatar(folder)
            drawing = predict_self(
                avatar,
                clip,
                frames,
                folder / "predictions",
                background=options.background,
                settings=settings,
                progress=progress,
            )
            timings[_name(clip)] = {"avatar_seconds": _rounded(seconds), "draw_ms_per_frame": _rounded(drawing)}
            pictures = SequencePictures(folder / "predictions", clip, frames, options.background, _name(clip))
            scored.append((pictures, score_pictures(pictures, tools, keep=folder, progress=progress)))
        row = start if avatar_file is None else avatar_file.absolute().stem
        about = {
            "command": "evaluate self",
            "start": start if avatar_file is None else None,
            "avatar": None if avatar_file is None else avatar_file.absolute().name,
            "source_frames": {_name(clip): list(own) for clip, own in zip(clips, chosen, strict=True)},
            "targets": targets,
        }
        k = count or len(sources)
        label = f"{row}, K = {k}" if avatar_file is None else row
        return _finish(output, scored, tools, options, label, about, timings, began)


def evaluate_cross(
    pairs: Sequence[tuple[TrackedSequence, TrackedSequence]],
    output: Path,
    options: Options,
    *,
    start: Start = "texture",
    sources: tuple[int, ...] = (0,),
    avatar_file: Path | None = None,
    checkpoint: Path | None = None,
    head: Head | None = None,
    resolution: int = 256,
    progress: Progress | None = None,
) -> Outcome:
    """Cross-reenactment (§4): each source's avatar does what its driver does.

    CSIM is measured against the source's first frame, AED and APD against the driver's frames; pixels of the two have
    nothing to do with each other and are not compared.

    Args:
        pairs: (source, driver) clips.
    """
    progress = progress or Silent()
    began = time.perf_counter()
    timings: dict[str, dict[str, float | None]] = {}
    with _tools(options, True) as tools:
        scored: list[tuple[Pictures, Scores]] = []
        for source, driver in pairs:
            name = f"{_name(source)}--{_name(driver)}"
            folder = output / "clips" / name
            own = head_of(source, head)
            making = _Making(source, own, start, sources, resolution, checkpoint, avatar_file)
            avatar, seconds, settings = making.avatar(folder)
            settings |= {"driver": str(driver.folder)}
            frames = tuple(range(len(driver)))
            drawing = predict_cross(
                avatar,
                driver,
                head_of(driver, head),
                frames,
                folder / "predictions",
                size=max(driver.width, driver.height),
                background=options.background,
                settings=settings,
                progress=progress,
            )
            timings[name] = {"avatar_seconds": _rounded(seconds), "draw_ms_per_frame": _rounded(drawing)}
            pictures = SequencePictures(folder / "predictions", driver, frames, options.background, name)
            shown, _ = target_of(source, sources[0], options.background)
            scores = score_pictures(
                pictures, tools, keep=folder, progress=progress, same_person=False, same_view=False, person=shown
            )
            scored.append((pictures, scores))
        about = {"command": "evaluate cross", "start": start, "source_frames": list(sources)}
        label = f"{start}, K = {len(sources)}"
        return _finish(output, scored, tools, options, label, about, timings, began)


def evaluate_pictures(
    clips: Sequence[Pictures], output: Path, options: Options, *, label: str, progress: Progress | None = None
) -> Outcome:
    """Score pictures that any method made."""
    progress = progress or Silent()
    began = time.perf_counter()
    with _tools(options, all(clip.has_landmarks for clip in clips)) as tools:
        scored = [
            (clip, score_pictures(clip, tools, keep=output / "clips" / clip.clip, progress=progress)) for clip in clips
        ]
        return _finish(output, scored, tools, options, label, {"command": "evaluate"}, {}, began)


def _tools(options: Options, known_landmarks: bool) -> contextlib.AbstractContextManager[Tools]:
    return open_tools(
        options.metrics or None,
        lpips=options.lpips,
        arcface_network=options.arcface,
        known_landmarks=known_landmarks,
        keep=options.keep,
    )


@dataclass(frozen=True)
class _Making:
    """How one clip's avatar is made."""

    clip: TrackedSequence
    head: Head
    start: Start
    sources: tuple[int, ...]
    resolution: int
    checkpoint: Path | None
    file: Path | None

    def avatar(self, folder: Path) -> tuple[Avatar, float, dict[str, Any]]:
        """The avatar, the seconds it took (NaN when it was there), and what it depends on.

        A new one is kept in `folder`, so that a run that was stopped goes on with exactly the same.
        """
        if self.file is not None:
            file = self.file / f"{_name(self.clip)}.avatar" if self.file.is_dir() else self.file
            avatar = self._opened(file)
            if avatar.head.edition != self.clip.head_edition:
                raise UserError(
                    f"this avatar has the head {avatar.head.edition}, the clip was tracked with "
                    f"{self.clip.head_edition}.",
                    where=file,
                )
            return avatar, math.nan, {"avatar": hashlib.sha256(file.read_bytes()).hexdigest()[:16]}
        settings = {
            "start": self.start,
            "sources": list(self.sources),
            "resolution": self.resolution,
            "clip": str(self.clip.folder),
            "checkpoint": None
            if self.checkpoint is None
            else [self.checkpoint.name, self.checkpoint.stat().st_mtime_ns],
            "code": code_digest(),
        }
        kept, record = folder / "source.avatar", folder / "source.json"
        with contextlib.suppress(UserError):
            if kept.exists() and read_json(record) == settings:
                return self._opened(kept), math.nan, settings
        made = make_avatar(
            self.clip, self.head, self.sources, self.start, resolution=self.resolution, checkpoint=self.checkpoint
        )
        folder.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        save_avatar(made.avatar, kept)
        write_json(record, settings)
        # As the file has it, from the first run on.
        return self._opened(kept), made.seconds, settings

    def _opened(self, file: Path) -> Avatar:
        return load_avatar(file, None if self.head.edition == load_open_head().edition else self.head)


def code_digest() -> str:
    """A hash of the code that makes and draws avatars: pictures of other code are not gone on with."""
    root = Path(spatialavatar.__file__).parent
    digest = hashlib.sha256()
    for room in ("avatar", "generate", "head", "splat"):
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _finish(
    output: Path,
    scored: Sequence[tuple[Pictures, Scores]],
    tools: Tools,
    options: Options,
    label: str,
    about: Mapping[str, Any],
    timings: Mapping[str, Any],
    began: float,
) -> Outcome:
    output.mkdir(parents=True, exist_ok=True)
    scored = [(pictures, _finished(pictures, scores, output, options, about)) for pictures, scores in scored]
    clips = [scores for _, scores in scored]
    summary = summarise(clips)
    contents = as_dict(
        clips,
        summary,
        {
            **about,
            **options.about,
            "background": options.background,
            "versions": {"spatialavatar": spatialavatar.__version__},
        },
    )
    contents["estimators"] = [{"name": e.name, "version": e.version} for e in options.estimators]
    contents["timings"] = dict(timings)
    contents["notes"] += list(tools.notes)
    contents["seconds"] = round(time.perf_counter() - began, 2)
    write_scores(output, contents, clips)
    title = options.beside.title if options.beside is not None else f"{len(clips)} clips, {contents['frames']} frames"
    text = f"# {title}\n\n" + markdown({label: summary.means}, beside=options.beside)
    with write_atomically(output / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    ranked = next((name for name in ("psnr", "csim", "aed") if name in summary.means), None)
    sheet = contact_sheet(scored, ranked) if ranked is not None else None
    if sheet is not None:
        save_png(sheet, output / "contact_sheet.png")
    return Outcome(summary, contents, output, tuple(contents["notes"]))


def _finished(pictures: Pictures, scores: Scores, output: Path, options: Options, about: Mapping[str, Any]) -> Scores:
    """What is done with a clip once it is scored: given estimators' columns, and the targets for those to come."""
    if options.write_targets:
        place = output / "clips" / pictures.clip / "targets"
        place.mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(pictures.names):
            if not (place / f"{name}.png").exists():
                save_png(pictures.pair(index).target, place / f"{name}.png")
    if not options.estimators or not pictures.names:
        return scores
    height = pictures.pair(0).target.shape[0]
    return with_estimators(scores, options.estimators, height, same_view=about.get("command") != "evaluate cross")


def clip_name(path: Path) -> str:
    """What a clip is called: me.tracked and me.mp4 are `me`, a camera's folder in a set is SUBJECT-CAMERA."""
    if path.suffix == ".tracked" or not is_tracked_folder(path):
        return path.stem
    return f"{path.resolve().parent.name}-{path.name}"


def _name(clip: TrackedSequence) -> str:
    return "clip" if clip.folder is None else clip_name(clip.folder)


def _rounded(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
