"""Run a protocol: its settings, its number of clips, its table with the paper's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from spatialavatar.errors import UserError
from spatialavatar.evaluate.frames import Choice, Targets
from spatialavatar.evaluate.protocol import Protocol, ring
from spatialavatar.evaluate.reenact import Start
from spatialavatar.evaluate.run import Options, Outcome, evaluate_cross, evaluate_self
from spatialavatar.evaluate.table import markdown, paper_table
from spatialavatar.files import write_atomically, write_json
from spatialavatar.head.head import Head
from spatialavatar.progress import Progress
from spatialavatar.sequence.sequence import TrackedSequence


def follow(
    protocol: Protocol,
    clips: Sequence[TrackedSequence],
    output: Path,
    options: Options,
    *,
    start: Start = "texture",
    avatars: Path | None = None,
    checkpoint: Path | None = None,
    head: Head | None = None,
    resolution: int = 256,
    progress: Progress | None = None,
) -> Outcome:
    """Evaluate as a protocol says.

    Args:
        protocol: Which.
        clips: The set's clips, in the order of their names.
        output: The folder to write.
        options: Weights' places; background, metrics and table are the protocol's, unless metrics are given.
        start, checkpoint, head, resolution, progress: See `evaluate_self`.
        avatars: For `avatars`: a folder with NAME.avatar for every clip.

    Raises:
        UserError: Avatars are missing; see `evaluate_self`.
    """
    about: dict[str, Any] = {"protocol": protocol.id, "protocol_notes": protocol.notes, **options.about}
    if protocol.clips is not None and len(clips) != protocol.clips:
        text = f"{len(clips)} clips were scored, the protocol's set has {protocol.clips}: the figures do not compare."
        about["protocol_incomplete"] = text
        if progress is not None:
            progress.note(text)
    # LPIPS and CSIM stay out where their weights are not at hand, so the protocol's metrics are not demanded.
    given = replace(
        options,
        background=protocol.background,
        keep=options.metrics or protocol.metrics,
        metrics=options.metrics,
        beside=None if protocol.table is None else paper_table(protocol.table),
        about=about,
    )
    shared: dict[str, Any] = {
        "start": start,
        "checkpoint": checkpoint,
        "head": head,
        "resolution": resolution,
        "progress": progress,
    }
    if protocol.kind == "cross":
        return evaluate_cross(ring(clips), output, given, sources=protocol.sources, **shared)
    targets = cast(Targets, protocol.targets)
    if protocol.kind == "avatars":
        if avatars is None:
            raise UserError(
                f"the protocol {protocol.id} scores ready avatars.",
                hint="Make each clip's with `create --hold-out tail` and give their folder with --avatar.",
            )
        return evaluate_self(clips, output, given, targets=targets, avatar_file=avatars, **shared)
    if protocol.kind == "multi":
        return _multi(protocol, clips, output, given, shared)
    return evaluate_self(clips, output, given, sources=protocol.sources, targets=targets, **shared)


def _multi(
    protocol: Protocol, clips: Sequence[TrackedSequence], output: Path, options: Options, shared: dict[str, Any]
) -> Outcome:
    """Every K into a folder of its own, and one table over all."""
    targets, choice = cast(Targets, protocol.targets), cast(Choice, protocol.choice)
    outcomes = {
        f"{shared['start']}, K = {count}": evaluate_self(
            clips, output / f"k{count}", options, count=count, choice=choice, targets=targets, **shared
        )
        for count in protocol.counts
    }
    text = f"# {protocol.title}\n\n" + markdown(
        {name: outcome.summary.means for name, outcome in outcomes.items()}, beside=options.beside
    )
    with write_atomically(output / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    contents = {**options.about, "command": "evaluate self", "runs": {n: o.contents for n, o in outcomes.items()}}
    write_json(output / "report.json", contents)
    return replace(list(outcomes.values())[-1], contents=contents, folder=output)
