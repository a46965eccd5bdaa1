"""A tracking that somebody else made, written as tracked folders of ours, with a score of how its mesh lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.files import new_folder_atomically, write_json
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.products import check_replaceable_folder
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.folder import REPORT_FILE, fill_folder
from spatialavatar.sequence.readers import Reading, read_layout
from spatialavatar.sequence.readers.base import told_reasons
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import ALIGNED, alignment_score, project
from spatialavatar.track.matte import Segmenter, refine_matte

_ALIGNMENT_FRAMES = 8
COVERS_ALL = 0.995
"""Share of a picture; the mattes of close-ups in the sets that we know cover up to 0.8."""
COVERS_NOTHING = 0.001
"""Share of a picture; a person who fills less than a thirtieth of its height is no use either."""


@dataclass(frozen=True)
class Imported:
    """What was written.

    Attributes:
        folders: Tracked folders, one a camera.
        report: What was read, what was left out and why, and the alignment of every camera.
        warnings: Sentences for people.
    """

    folders: tuple[Path, ...]
    report: dict[str, Any]
    warnings: tuple[str, ...]


def import_layout(
    layout: str,
    folder: Path,
    output: Path,
    *,
    head: Head | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Read a folder of any layout and write it as ours: one camera as `output`, several as folders inside it.

    Args:
        layout: A name in `readers.LAYOUTS`, or "auto".
        folder: What to read.
        output: NAME.tracked.
        head: The head of the set's codes.
        overwrite: Replace what lies at `output`.
        progress: Where to show how far it is.

    Raises:
        UserError: See `read_layout`; or `output` exists, or holds what we did not put there.
    """
    progress = progress or Silent()
    if output.exists() and not overwrite:
        raise UserError("this folder exists already.", where=output, hint="Give another name or add --overwrite.")
    check_replaceable_folder(output, [folder])
    reading = read_layout(layout, folder, head)
    report = reading.report()
    report["alignment"] = {}
    report["mattes_made"], report["mattes_empty"] = {}, {}
    with new_folder_atomically(output, overwrite) as temporary:
        single = len(reading.sequences) == 1
        places = [temporary if single else _inside(temporary, name) for name in reading.names]
        for name, sequence, place in zip(reading.names, reading.sequences, places, strict=True):
            if not single:
                # Two cameras of one name would be an error here, never one that replaces the other.
                place.mkdir()
            with progress.stage(f"Writing {name}"[:22], len(sequence)) as advance:
                images = _counted((sequence.image(frame).numpy() for frame in range(len(sequence))), advance)
                mattes = Mattes(sequence, reading.unmatted_of(name), head)
                written = fill_folder(sequence, place, images, mattes)
            report["mattes_made"][name] = mattes.made
            report["mattes_empty"][name] = mattes.empty
            report["alignment"][name] = _alignment(written, head)
        for place in places:
            write_json(place / REPORT_FILE, report)
    folders = tuple(output if single else output / name for name in reading.names)
    warnings = (
        *reading.warnings,
        *_matte_warnings(reading, report),
        *_alignment_warnings(report),
        *_skipped_warnings(reading),
    )
    return Imported(folders, report, warnings)


def _inside(temporary: Path, name: str) -> Path:
    """The place of a camera in the folder that is being made, and nowhere else."""
    place = temporary / name
    if place.resolve().parent != temporary.resolve():
        raise UserError(f"the camera {name!r} would be written outside the folder.", where=temporary)
    return place


def _counted(frames: Iterator[NDArray[np.uint8]], advance: Any) -> Iterator[NDArray[np.uint8]]:
    for frame in frames:
        yield frame
        advance()


def _alignment(sequence: TrackedSequence, head: Head | None) -> dict[str, float] | None:
    """How well the mesh lies on the mattes; None where the head is not at hand."""
    head = head or load_open_head()
    if head.edition != sequence.head_edition:
        return None
    overlap, inside = alignment_score(sequence, head, _ALIGNMENT_FRAMES)
    return {"overlap": round(overlap, 4), "inside": round(inside, 4)}


def _alignment_warnings(report: dict[str, Any]) -> list[str]:
    return [
        f"{name}: the mesh overlaps the mattes by only {found['overlap']:.2f}: is this the head the set was tracked "
        "with?"
        for name, found in report["alignment"].items()
        # Where our own segmentation found no person, that is said, and the mesh is not to blame.
        if found is not None and found["overlap"] < ALIGNED and not report["mattes_empty"][name]
    ]


def _matte_warnings(reading: Reading, report: dict[str, Any]) -> list[str]:
    made, frames = sum(report["mattes_made"].values()), sum(map(len, reading.sequences))
    if not made:
        return []
    which = "the set has no mattes" if made == frames else f"{made} of {frames} frames have no matte of their own"
    without_person = sum(report["mattes_empty"].values())
    found = f", which found no person in {without_person} frames: look at those" if without_person else ""
    return [f"{which}: they were made by our own segmentation{found}."]


def _skipped_warnings(reading: Reading) -> list[str]:
    if not reading.skipped:
        return []
    return [f"{len(reading.skipped)} frames or files were left out: {told_reasons(reading.skipped)}."]


class Mattes:
    """The mattes of a sequence in order: the set's own, or where it has none ours, the person being where the mesh is.

    A matte that covers the whole picture says nothing about the person, and counts as none.

    Args:
        sequence: Whose.
        unmatted: Names of the frames that the set has no matte of.
        head: The head of the set's codes, if it is at hand.

    Attributes:
        made: How many were made so far.
        empty: In how many of those no person was found.
    """

    def __init__(self, sequence: TrackedSequence, unmatted: frozenset[str], head: Head | None):
        self.sequence, self.unmatted = sequence, unmatted
        self.made = self.empty = 0
        head = head or load_open_head()
        self.head = head if head.edition == sequence.head_edition else None

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        segmenter: Segmenter | None = None
        try:
            for frame, name in enumerate(self.sequence.names):
                matte = None if name in self.unmatted else self.sequence.matte(frame).numpy()
                if matte is None or float((matte >= 128).mean()) > COVERS_ALL:
                    segmenter = segmenter or Segmenter()
                    image = self.sequence.image(frame).numpy()
                    matte = refine_matte(image, segmenter.probability(image), self._middle(frame))
                    self.made += 1
                    self.empty += float((matte >= 128).mean()) < COVERS_NOTHING
                yield matte
        finally:
            if segmenter is not None:
                segmenter.close()

    def _middle(self, frame: int) -> tuple[float, float]:
        """The mesh's middle in the picture; the picture's where the head is not at hand."""
        sequence = self.sequence
        if self.head is None:
            return sequence.width / 2, sequence.height / 2
        with torch.no_grad():
            identity = self.head.prepare_identity(sequence.identity)
            vertices = self.head.pose(identity, sequence.motion[torch.tensor([frame])])[0]
            pixels, _ = project(vertices, sequence.camera_from_world[frame], sequence.intrinsics[frame])
        x, y = pixels.mean(0).nan_to_num().tolist()
        return min(max(x, 0.0), sequence.width - 1.0), min(max(y, 0.0), sequence.height - 1.0)
