"""From pictures to an avatar, as a user gets there: tracking, a start, refinement; each kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import load_avatar, save_avatar
from spatialavatar.create import CreateOptions, refinement_of, start_avatar
from spatialavatar.files import write_json
from spatialavatar.head.head import Head
from spatialavatar.input_files import read_json
from spatialavatar.progress import Progress
from spatialavatar.refine.config import RefineConfig
from spatialavatar.refine.loop import IterationState, refine
from spatialavatar.sequence.folder import read_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.track import track

from .people import filmed_focal
from .rules import without
from .steps import code_key, key_of
from .subjects import PHOTO, VIDEO, Subject

Input = Literal["photo", "video"]
Preset = Literal["quick", "full", "fast"]
Tracking = Literal["found", "lens-known", "true"]
"""By our tracker; by our tracker, told the focal length; or the truth itself, which no user has."""

_TRACKING_CODE = ("track", "head", "splat", "sequence", "random_streams")
_AVATAR_CODE = (*_TRACKING_CODE, "avatar", "generate", "refine", "create")


@dataclass(frozen=True)
class Recipe:
    """How an avatar is made from a subject.

    without: Rules of Stage 2 that are left out.
    """

    input: Input
    preset: Preset = "quick"
    tracking: Tracking = "found"
    without: tuple[str, ...] = ()
    seed: int = 0

    @property
    def name(self) -> str:
        left_out = "".join(f".without-{rule}" for rule in self.without)
        return f"{self.input}.{self.tracking}.{self.preset}{left_out}.seed{self.seed}"


@dataclass(frozen=True)
class Tracked:
    """A sequence, what it hangs on, and in how many seconds it was made."""

    sequence: TrackedSequence
    key: str
    seconds: float


@dataclass(frozen=True)
class Made:
    """An avatar, what it hangs on, and in how many seconds it was made from the tracked sequence."""

    avatar: Avatar
    key: str
    seconds: float


def options_of(recipe: Recipe) -> CreateOptions:
    """What `create` would be told."""
    return CreateOptions(fast=recipe.preset == "fast", quick=recipe.preset == "quick", seed=recipe.seed)


def tracked_of(subject: Subject, recipe: Recipe, work: Path, head: Head, progress: Progress) -> Tracked:
    """The filmed camera's pictures, tracked."""
    if recipe.tracking == "true":
        return Tracked(true_sequence(subject, recipe.input), key_of("true", subject.key, recipe.input), 0.0)
    source = subject.folder / (VIDEO if recipe.input == "video" else PHOTO)
    focal = filmed_focal(subject.person) if recipe.tracking == "lens-known" else None
    name = f"{subject.person.name}.{recipe.input}.{recipe.tracking}"
    return tracked_file(source, name, subject.key, options_of(recipe), focal, work, head, progress)


def tracked_file(
    source: Path,
    name: str,
    source_key: str,
    options: CreateOptions,
    focal: float | None,
    work: Path,
    head: Head,
    progress: Progress,
) -> Tracked:
    """A video or a photo, tracked as `create` does it."""
    key = key_of("tracked", source_key, source.name, focal, options.size, options.fast, code_key(*_TRACKING_CODE))
    folder = work / "tracked" / f"{name}-{key}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        track([source], output=folder, head=head, size=options.size, fast=options.fast, focal=focal, progress=progress)
    seconds = float(read_json(folder / "report.json")["seconds"]["total"])
    return Tracked(read_sequence(folder), key, seconds)


def true_sequence(subject: Subject, kind: Input) -> TrackedSequence:
    """The filmed frames with their true motion, camera and mattes; of a photo the one frame."""
    filmed = subject.filmed()
    if kind == "video":
        return filmed
    return replace(filmed.select([subject.photo_frame]), kind="photos", frame_rate=0.0)


def config_of(sequence: TrackedSequence, recipe: Recipe) -> RefineConfig:
    """The refinement's settings: the preset's, less what is left out."""
    return without(refinement_of(sequence, options_of(recipe)), recipe.without)


def avatar_of(tracked: Tracked, name: str, recipe: Recipe, work: Path, head: Head, note: Callable[[str], None]) -> Made:
    """The avatar of a tracked sequence: the steps of `create` after tracking."""
    options, sequence = options_of(recipe), tracked.sequence
    config = config_of(sequence, recipe)
    key = key_of("avatar", tracked.key, asdict(config), asdict(options), code_key(*_AVATAR_CODE))
    folder = work / "avatars"
    path, facts = (folder / f"{name}.{recipe.name}-{key}{ending}" for ending in (".avatar", ".json"))
    if facts.is_file():
        return Made(load_avatar(path), key, float(read_json(facts)["seconds"]))
    folder.mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    checkpoint = path.with_suffix(".checkpoint.safetensors")
    start = start_avatar(sequence, head, options, list(range(len(sequence))))

    def told(state: IterationState) -> None:
        if state.iteration % 500 == 0:
            note(f"    step {state.iteration} of {state.total}, loss {state.loss:.4f}")

    result = refine(start, sequence, config, checkpoint=checkpoint, resume=checkpoint.exists(), progress=told)
    save_avatar(result.avatar, path)
    write_json(facts, {"seconds": round(perf_counter() - began, 1), "report": result.report})
    return Made(result.avatar, key, perf_counter() - began)
