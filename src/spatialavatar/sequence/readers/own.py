"""Our own tracked folders, and folders of such."""

from __future__ import annotations

from pathlib import Path

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.sequence.folder import is_tracked_folder, read_sequence
from spatialavatar.sequence.readers.base import Reading, Skipped, nothing_left
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
        folders = [folder]
    elif (folder / SET_FILE).is_file():
        folders = [camera for subject in read_set(folder).subjects for camera in subject.folders]
    else:
        folders = sorted(path for path in folder.iterdir() if is_tracked_folder(path))
    names, sequences, skipped = [], [], []
    for place in folders:
        try:
            sequences.append(read_sequence(place))
            names.append(place.stem)
        except UserError as error:
            skipped.append(Skipped(str(place), error.what))
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
