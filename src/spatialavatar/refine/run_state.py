"""The state of a refinement as checkpoints hold it: written whole, and gone back to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.errors import UserError
from spatialavatar.refine.checkpoint import (
    REFINEMENT,
    adam_state,
    check_like,
    generator_state,
    read_checkpoint,
    restore_adam,
    restoring,
    write_checkpoint,
)
from spatialavatar.sequence.sequence import TrackedSequence

if TYPE_CHECKING:
    from spatialavatar.refine.refinement import Refinement

ATTRIBUTES = ("position", "rotation", "log_scale", "opacity", "color")


def attributes_of(gaussians: LocalGaussians) -> tuple[Tensor, ...]:
    """The tensors of `gaussians` in the order of ATTRIBUTES."""
    return tuple(getattr(gaussians, field.name) for field in fields(gaussians))


def within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def identity_of(run: Refinement) -> dict[str, Any]:
    """What must agree for a checkpoint to be of this run (budgets apart, which may be extended)."""
    config = asdict(replace(run.config, checkpoint_every=0, preview_seconds=0.0, minutes=None))
    sequence = run.whole[0]
    return {
        "layout": run.avatar.layout.layout_id,
        "frames": [sequence.names[frame] for frame in run.training],
        "tracking": digest_of(sequence),
        "config": config,
    }


def digest_of(sequence: TrackedSequence) -> str:
    """A short digest of a sequence's motion, cameras and identity: frames that were tracked again have another."""
    motion = (getattr(sequence.motion, field.name) for field in fields(sequence.motion))
    digest = hashlib.sha256()
    for tensor in (sequence.identity, sequence.camera_from_world, sequence.intrinsics, *motion):
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


SAME_START = 1e-3
"""Starts that differ by more, in metres, log-scales, logits or colours, are two. The last bits, which depend on the
number of threads, are far below it, and another start is far above."""


def _check_start(run: Refinement, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Gaussians that a checkpoint began with must be those of this run.

    Raises:
        UserError: They are of another avatar.
    """
    for name, start in zip(ATTRIBUTES, attributes_of(run.start), strict=True):
        found = tensors[f"start.{name}"]
        if found.shape != start.shape or float((found - start).abs().max()) > SAME_START:
            raise UserError(
                f"this checkpoint belongs to another run: it began with another avatar (its {name} differs).",
                where=path,
                hint=REFINEMENT.hint,
            )


def save_run(run: Refinement, path: Path, seconds: float) -> None:
    """Write a checkpoint: parameters, moments, random state and whatever else moves."""
    tensors = _tensors(run)
    header = {
        **identity_of(run),
        "iteration": run.iteration,
        "fraction": run.fraction,
        "cool_down": None if run.cool_down is None else list(run.cool_down),
        "seconds": seconds,
        "lights": run.lights,
        "largest_aspect": run.largest_aspect,
    }
    write_checkpoint(path, tensors, header)


def _tensors(run: Refinement) -> dict[str, Tensor]:
    """What moves, by the names that it has in checkpoints."""
    tensors: dict[str, Tensor] = {f"random.{name}": generator_state(each) for name, each in run.random.items()}
    tensors["losses"] = torch.tensor(run.losses, dtype=torch.float64)
    tensors["order"] = torch.tensor(run.order, dtype=torch.int64)
    tensors["weight"], tensors["moving"], tensors["anchors"] = run.weight, run.moving, run.anchors
    for name, start in zip(ATTRIBUTES, attributes_of(run.start), strict=True):
        value = run.parameters[name]
        tensors[f"value.{name}"], tensors[f"start.{name}"] = value, start
        tensors |= adam_state(run.optimiser, value, f".{name}")
    if run.light is not None:
        tensors["light"] = run.light
    if run.correctives is not None:
        tensors |= {f"correctives.{name}": value for name, value in run.correctives.state().items()}
    if run.motion is not None:
        tensors |= {f"motion.{name}": value for name, value in run.motion.frames.state().items()}
    return tensors


def load_run(run: Refinement, path: Path) -> float:
    """Go back to a checkpoint's state; returns the seconds spent until then.

    Raises:
        UserError: It is missing, damaged, or of another run.
    """
    # Through JSON once, so that tuples compare as the lists they come back as.
    expected = json.loads(json.dumps(identity_of(run)))
    tensors, header = read_checkpoint(path, expected)
    like = {name: value for name, value in _tensors(run).items() if name not in ("losses", "order")}
    for name in ATTRIBUTES:
        # Before the first step there are no moments to compare with.
        like |= {f"{moment}_moment.{name}": run.parameters[name] for moment in ("first", "second")}
    check_like(tensors, like, path)
    _check_start(run, tensors, path)
    with restoring(path):
        for name, each in run.random.items():
            each.set_state(tensors[f"random.{name}"])
        run.losses, run.order = tensors["losses"].tolist(), tensors["order"].tolist()
        run.weight, run.moving, run.anchors = tensors["weight"], tensors["moving"], tensors["anchors"]
        run.iteration, run.fraction = header["iteration"], header["fraction"]
        run.lights, run.light = header["lights"], tensors.get("light")
        run.kept_brightness.clear()
        run.largest_aspect = header["largest_aspect"]
        run.cool_down = None if header["cool_down"] is None else tuple(header["cool_down"])
        with torch.no_grad():
            for name in ATTRIBUTES:
                value = run.parameters[name]
                value.copy_(tensors[f"value.{name}"])
                restore_adam(run.optimiser, value, tensors, f".{name}")
        run.start = LocalGaussians(*(tensors[f"start.{name}"] for name in ATTRIBUTES))
        run.fused = None
        if run.correctives is not None:
            run.correctives.restore(within(tensors, "correctives."))
        if run.motion is not None:
            run.motion.frames.restore(within(tensors, "motion."))
        return float(header["seconds"])
