"""One person, one recipe, from nothing to rows of figures: every step kept on disk, so that a stopped run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import write_json
from spatialavatar.head.head import Head
from spatialavatar.input_files import read_json
from spatialavatar.progress import Progress
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.lpips import Lpips

from .making import Recipe, Tracked, avatar_of, tracked_of, true_sequence
from .modes import Mode, driven_mode, modes_of
from .people import SCORED, Person, filmed_focal
from .scoring import Row, ground_truth_of, score_mode, score_own
from .sheet import SHOWN_CAMERAS, save_pair
from .steps import code_key, key_of, text_key
from .subjects import Subject, subject_of

_SCORING_CODE = ("evaluate", "avatar", "splat", "head", "synth")
_PARTS = tuple(Path(__file__).parent / name for name in ("scoring.py", "modes.py", "surfaces.py", "scored.py"))


@dataclass(frozen=True)
class Settings:
    """What all people of a run have in common.

    work: Where everything is kept.
    modes: Which modes are scored.
    network: Measures LPIPS, where its weights are at hand.
    """

    work: Path
    head: Head
    modes: tuple[str, ...]
    processes: int
    progress: Progress
    note: Callable[[str], None]
    network: Lpips | None = None


def rows_of(person: Person, recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """Figures of one person's avatar: `rows`, `seconds` by step, `residual_mm` by mode, a folder of `pictures`.

    Raises:
        UserError: The tracker found other frames than were filmed.
    """
    work, head = settings.work, settings.head
    began = perf_counter()
    subject = subject_of(person, work, settings.processes)
    drawn_after = perf_counter() - began
    tracked = tracked_of(subject, recipe, work, head, settings.progress)
    settings.note(f"  {person.name}: tracked in {tracked.seconds:.0f} s")
    made = avatar_of(tracked, person.name, recipe, work, head, settings.note)
    settings.note(f"  {person.name}: {recipe.name} made in {made.seconds:.0f} s")
    key = key_of("scores", made.key, subject.key, settings.modes, settings.network is not None, scoring_code())
    folder = work / "scores"
    path = folder / f"{person.name}.{recipe.name}-{key}.json"
    if path.is_file():
        return read_json(path)
    folder.mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    pictures = path.with_suffix("")
    rows, residuals = _score(subject, tracked, made.avatar, recipe, settings, pictures)
    seconds = round(perf_counter() - began, 1)
    result = {
        "person": person.name,
        "recipe": recipe.name,
        "rows": rows,
        "residual_mm": residuals,
        "focal_over_true": round(focal_ratio(subject, tracked.sequence), 4),
        "pictures": pictures.name,
        "seconds": {
            "subject": round(drawn_after, 1),
            "track": round(tracked.seconds, 1),
            "create": round(made.seconds, 1),
            "score": seconds,
        },
    }
    write_json(path, result)
    settings.note(f"  {person.name}: scored in {seconds:.0f} s")
    return result


def focal_ratio(subject: Subject, tracked: TrackedSequence) -> float:
    """The focal length that was found over the true one, both in units of the picture's side."""
    found = tracked.source.get("focal", float(tracked.intrinsics[0, 0, 0]) / tracked.width)
    return float(found) / filmed_focal(subject.person)


def scoring_code() -> str:
    """What scores hang on besides avatar and truth."""
    return key_of(code_key(*_SCORING_CODE), text_key(*_PARTS))


def _score(
    subject: Subject, tracked: Tracked, avatar: Any, recipe: Recipe, settings: Settings, pictures: Path
) -> tuple[list[Row], dict[str, float]]:
    head, truth = settings.head, true_sequence(subject, recipe.input)
    if len(tracked.sequence) != len(truth):
        raise UserError(
            f"{len(tracked.sequence)} frames were tracked of {len(truth)} that were filmed.",
            where=tracked.sequence.folder,
        )
    modes = _modes(subject, tracked, avatar, truth, recipe, settings)
    cameras = {name: subject.seen_by(name) for name in SCORED}
    known = ground_truth_of(head, truth, cameras, subject.instants)
    pictures.mkdir(parents=True, exist_ok=True)
    shown_frame = subject.photo_frame if recipe.input == "photo" else subject.instants[len(subject.instants) // 2]

    def show(row: Row, target: Tensor, image: Tensor) -> None:
        if row["mode"] == "tracked" and row["frame"] == shown_frame and row["camera"] in SHOWN_CAMERAS:
            save_pair(target, image, pictures / f"{row['camera']}.png")

    places = instants_of(subject, recipe) if recipe.input == "video" else [0]
    rows = score_own(avatar, tracked.sequence, places, instants_of(subject, recipe), known)
    for mode in modes:
        rows += score_mode(mode, known, settings.network, show)
    return rows, {mode.name: round(mode.residual_mm, 3) for mode in modes}


def instants_of(subject: Subject, recipe: Recipe) -> list[int]:
    """Frames of the filmed video in which the avatar is scored with its own motion."""
    return list(subject.instants) if recipe.input == "video" else [subject.photo_frame]


def _modes(
    subject: Subject, tracked: Tracked, avatar: Any, truth: TrackedSequence, recipe: Recipe, settings: Settings
) -> Sequence[Mode]:
    instants = subject.instants
    if recipe.input == "video":
        return modes_of(avatar, tracked.sequence, truth, instants, instants, settings.modes)
    modes = modes_of(avatar, tracked.sequence, truth, [0], [subject.photo_frame], settings.modes)
    if "driven" in settings.modes:
        video = replace(recipe, input="video")
        driving = tracked_of(subject, video, settings.work, settings.head, settings.progress)
        modes.append(driven_mode(avatar, driving.sequence, true_sequence(subject, "video"), instants))
    return modes
