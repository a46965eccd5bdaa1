"""report.json: how well the tracking went, and how good the recording is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import spatialavatar
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import alignment_score
from spatialavatar.track.curves import measure_curves, write_curves
from spatialavatar.track.facts import cut_share, measured_facts
from spatialavatar.track.loss import FitConfig
from spatialavatar.track.matte_check import matte_flicker, silhouette_overlap
from spatialavatar.track.measure import jitter, landmark_error, outline_error
from spatialavatar.track.observe import Observations
from spatialavatar.track.recording import grade_recording


def accuracy(sequence: TrackedSequence, head: Head, drift: Tensor | None = None) -> dict[str, Any]:
    """What every stage is measured by, so that one sees what the next one brought.

    Args:
        drift: (T, 4) the picture's own motion, where it was measured; jitter is then given less that motion, too.
    """
    embedding = load_landmarks(head)
    values = {"jitter": jitter(sequence, head, embedding)}
    if drift is not None:
        values["jitter_less_picture"] = jitter(sequence, head, embedding, drift)
    rounded = {name: None if value is None else round(value, 4) for name, value in values.items()}
    return {"landmark_error": landmark_error(sequence, head, embedding).report(), **rounded}


def make_report(
    sequence: TrackedSequence,
    observations: Observations,
    head: Head,
    config: FitConfig,
    seconds: dict[str, float],
    stages: dict[str, dict[str, Any]],
    folder: Path | None = None,
) -> dict[str, Any]:
    """What report.json holds; a video's curves are drawn into the folder.

    Args:
        seconds: Of the stages' work.
        stages: Accuracies after each stage, the last one's those of `sequence`.
    """
    outline = outline_error(sequence, head)
    alignment, inside = alignment_score(sequence, head)
    flicker, silhouette = matte_flicker(sequence), silhouette_overlap(sequence, head)
    now = stages[next(reversed(stages))]
    curves = measure_curves(sequence, head, load_landmarks(head))
    if folder is not None and sequence.kind == "video":
        write_curves(curves, folder)
    facts = measured_facts(
        sequence,
        curves,
        scales=observations.scales,
        cut_off=cut_share(observations.contours),
        landmark_error=now["landmark_error"]["p95"],
        jitter=now["jitter"],
        flicker=None if flicker is None else flicker.rim,
        silhouette=None if silhouette is None else silhouette.overlap,
        people=observations.people,
        cuts=len(observations.cuts),
        face_score=observations.face_score,
    )
    # Of landmarks, mattes and the fit, which every tracking has; the photometric stage has a speed of its own.
    before_pixels = seconds["observe"] + seconds["fit"]
    speeds = {"frames_per_second": round(len(sequence) / before_pixels, 3)}
    if "photometric" in seconds:
        speeds["photometric_frames_per_second"] = round(len(sequence) / seconds["photometric"], 3)
    return {
        **now,
        "outline_error": outline.report(),
        "alignment": {"overlap": round(alignment, 4), "inside": round(inside, 4)},
        "silhouette": None if silhouette is None else silhouette.report(),
        "matte_flicker": None if flicker is None else flicker.report(),
        "recording": grade_recording(facts).report(),
        "tracking": speeds,
        "frames": len(sequence),
        "cuts": list(observations.cuts),
        "frames_without_face": int((~sequence.is_valid).sum()),
        "inter_ocular_pixels": round(float(np.nanmedian(observations.inter_ocular)), 2),
        "focal_length_pixels": round(float(sequence.intrinsics[:, 0, 0].median()), 2),
        "distance_metres": round(float(sequence.camera_from_world[:, 2, 3].median()), 3),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "stages": stages,
        "warnings": list(observations.warnings),
        "config": asdict(config),
        "versions": {"spatialavatar": spatialavatar.__version__, "torch": torch.__version__, "head": head.edition},
    }
