"""What an evaluation leaves behind: scores.json, scores.csv, table.md and a sheet of pictures, all in one folder."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatialavatar.evaluate.score import Scores, in_order
from spatialavatar.evaluate.statistics import Mean, mean_of
from spatialavatar.files import write_atomically, write_json

FORMAT = "spatialavatar.scores"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Summary:
    """Means over all clips, and of every clip by itself.

    Attributes:
        means: Metric -> mean over all clips.
        by_clip: Clip -> metric -> mean.
        ids: Metric -> what it was measured with.
    """

    means: dict[str, Mean]
    by_clip: dict[str, dict[str, Mean]]
    ids: dict[str, str]


def summarise(clips: Sequence[Scores]) -> Summary:
    """Means of every metric that at least one clip has."""
    names = in_order(name for clip in clips for name in clip.columns)
    ids = {name: next(clip.columns[name].id for clip in clips if name in clip.columns) for name in names}
    means = {name: mean_of([clip.columns[name].values for clip in clips if name in clip.columns]) for name in names}
    by_clip = {clip.clip: {name: mean_of([c.values]) for name, c in clip.columns.items()} for clip in clips}
    return Summary(means, by_clip, ids)


def as_dict(clips: Sequence[Scores], summary: Summary, about: dict[str, Any]) -> dict[str, Any]:
    """The report's contents: what was done (`about`), then the numbers."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **about,
        "frames": sum(len(clip.names) for clip in clips),
        "metrics": {name: {"id": summary.ids[name], **mean.as_dict()} for name, mean in summary.means.items()},
        "clips": [_clip(clip, summary.by_clip[clip.clip]) for clip in clips],
        "notes": [note for clip in clips for note in clip.notes],
    }


def _clip(clip: Scores, means: dict[str, Mean]) -> dict[str, Any]:
    without = clip.without_face
    return {
        "clip": clip.clip,
        "frames": len(clip.names),
        "frames_without_prediction": len(clip.missing),
        "targets_without_face": None if without is None else without[0],
        "predictions_without_face": None if without is None else without[1],
        "target_frames_with_eyes_shut": clip.blinks,
        "metrics": {name: mean.as_dict() for name, mean in means.items()},
    }


def write_scores(folder: Path, contents: dict[str, Any], clips: Sequence[Scores]) -> tuple[Path, Path]:
    """Write report.json (the means) and frames.csv (every frame) into a folder; returns their paths."""
    report, table = folder / "report.json", folder / "frames.csv"
    names = in_order(name for clip in clips for name in clip.columns)
    with write_atomically(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clip", "frame", *names])
        for clip in clips:
            for row, name in enumerate(clip.names):
                values = [clip.columns[m].values[row] if m in clip.columns else math.nan for m in names]
                writer.writerow([clip.clip, name, *(f"{v:.6g}" if math.isfinite(v) else "" for v in values)])
    write_json(report, contents)
    return report, table
