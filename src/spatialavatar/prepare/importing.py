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
from spatialavatar.files import new_folder_atomically
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.progress import Progress, Silent
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.sequence.readers import Reading, read_layout
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import ALIGNED, alignment_score, project
from spatialavatar.track.matte import Segmenter, refine_matte

_ALIGNMENT_FRAMES = 8


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
        UserError: See `read_layout`; or `output` exists.
    """
    progress = progress or Silent()
    if output.exists() and not overwrite:
        raise UserError("this folder exists already.", where=output, hint="Give another name or add --overwrite.")
    reading = read_layout(layout, folder, head)
    report = reading.report()
    report["alignment"] = {}
    with new_folder_atomically(output, overwrite) as temporary:
        inside = [temporary] if len(reading.sequences) == 1 else [temporary / name for name in reading.names]
        for name, sequence, place in zip(reading.names, reading.sequences, inside, strict=True):
            with progress.stage(f"Writing {name}"[:22], len(sequence)) as advance:
                images = _counted((sequence.image(frame).numpy() for frame in range(len(sequence))), advance)
                mattes = _mattes(sequence, head) if reading.needs_mattes else None
                place.mkdir(parents=True, exist_ok=True)
                written = write_sequence(sequence, place, images, mattes, report=report, overwrite=True)
            report["alignment"][name] = _alignment(written, head)
    folders = tuple(output if len(inside) == 1 else output / name for name in reading.names)
    return Imported(folders, report, (*reading.warnings, *_alignment_warnings(report), *_skipped_warnings(reading)))


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
        if found is not None and found["overlap"] < ALIGNED
    ]


def _skipped_warnings(reading: Reading) -> list[str]:
    if not reading.skipped:
        return []
    first = reading.skipped[0]
    return [f"{len(reading.skipped)} frames or files were left out, for example {first.where}: {first.why}."]


def _mattes(sequence: TrackedSequence, head: Head | None) -> Iterator[NDArray[np.uint8]]:
    """Mattes by our own segmentation, the person being where the mesh lies."""
    assert head is not None
    identity = head.prepare_identity(sequence.identity)
    segmenter = Segmenter()
    try:
        for frame in range(len(sequence)):
            image = sequence.image(frame).numpy()
            with torch.no_grad():
                vertices = head.pose(identity, sequence.motion[torch.tensor([frame])])[0]
                pixels, _ = project(vertices, sequence.camera_from_world[frame], sequence.intrinsics[frame])
            x, y = pixels.mean(0).tolist()
            middle = (min(max(x, 0.0), image.shape[1] - 1.0), min(max(y, 0.0), image.shape[0] - 1.0))
            yield refine_matte(image, segmenter.probability(image), middle)
    finally:
        segmenter.close()
