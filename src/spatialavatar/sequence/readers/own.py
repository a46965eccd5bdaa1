"""Our own tracked folders, and folders of such."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from spatialavatar.errors import UserError
from spatialavatar.files import is_file_name
from spatialavatar.head.head import Head
from spatialavatar.sequence.folder import is_tracked_folder, read_sequence
from spatialavatar.sequence.readers.base import Reading, Skipped, clip_name, nothing_left
from spatialavatar.sequence.sets import SET_FILE, read_set

NAME = "tracked"


def recognises(folder: Path) -> bool:
    """Whether this is a tracked folder, or holds some."""
    if not folder.is_dir():
        return False
    return is_tracked_folder(folder) or (folder / SET_FILE).is_file() or any(map(is_tracked_folder, folder.iterdir()))


def read(folder: Path, head: Head | None) -> Reading:
    """Read a tracked folder, or all of a folder or set; those that are damaged are left out and named.

    Raises:
        UserError: None can be used, or they were tracked with different heads.
    """
    if is_tracked_folder(folder):
        places = [(clip_name(folder.with_suffix("")), folder)]
    elif (folder / SET_FILE).is_file():
        subjects = read_set(folder).subjects
        places = [
            (f"{subject.name}-{name}" if len(subjects) > 1 else name, place)
            for subject in subjects
            for name, place in zip(subject.camera_names, subject.folders, strict=True)
        ]
    else:
        places = [(path.stem, path) for path in sorted(folder.iterdir()) if is_tracked_folder(path)]
    places = [(name if is_file_name(name) else clip_name(place), place) for name, place in places]
    times = Counter(name for name, _ in places)
    places = [(name if times[name] == 1 else f"{name}-{n}", place) for n, (name, place) in enumerate(places, 1)]
    names, sequences, skipped = [], [], []
    for name, place in places:
        try:
            sequences.append(read_sequence(place))
            names.append(name)
        except UserError as error:
            skipped.append(Skipped(name, error.what.rstrip("."), error.where or ""))
    if not sequences:
        raise nothing_left(folder, skipped)
    editions = {sequence.head_edition: name for name, sequence in zip(names, sequences, strict=True)}
    if len(editions) > 1:
        (first, one), (second, other) = list(editions.items())[:2]
        raise UserError(
            f"{one} was tracked with the head {first} and {other} with {second}; codes of two heads do not mix.",
            where=folder,
            hint="Track them again with one head.",
        )
    if head is not None and head.edition not in editions:
        raise UserError(f"these were tracked with the head {next(iter(editions))}, not {head.edition}.", where=folder)
    return Reading(NAME, tuple(names), tuple(sequences), tuple(skipped))
