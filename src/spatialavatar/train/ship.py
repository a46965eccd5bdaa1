"""A run's generator as the file that is shipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
from spatialavatar.generate.checkpoint import load_generator, read_generator_header, save_generator
from spatialavatar.train import run_folder
from spatialavatar.train.run_folder import RunFolder


@dataclass(frozen=True)
class Shipped:
    """What was written."""

    size_mb: float
    steps: int
    scores: dict[str, float]


def ship(run: Path, output: Path, *, last: bool = False) -> Shipped:
    """Write a run's best generator on its held-out set (without one, its last) with a record of its training.

    Args:
        run: The run's folder.
        output: Where to write it.
        last: The generator at the run's end, whatever the held-out set says.

    Raises:
        UserError: The folder holds no run, or the run no generator yet.
    """
    folder = RunFolder(run)
    record = folder.read(run_folder.RECORD)
    names = (run_folder.GENERATOR,) if last else (run_folder.BEST, run_folder.GENERATOR)
    found = [folder.file(name) for name in names if folder.file(name).exists()]
    if not found:
        raise UserError("this run has not written a generator yet.", where=run, hint="Let it go on first.")
    header = read_generator_header(found[0]).header["record"]
    training: dict[str, Any] = header.get("record", {})
    scores = [line for line in folder.lines(run_folder.SCORES) if line.get("step") == header.get("steps")]
    scored = {name: value for line in scores for name, value in line.items() if name != "step"}
    kept = {
        "phase": header.get("phase"),
        "steps": header.get("steps"),
        "seconds": header.get("seconds"),
        "held_out": header.get("held_out", scored),
        "texture_start": record.get("texture_start", {}),
        **{key: training.get(key) for key in ("data", "subjects", "device", "threads", "lpips", "start")},
        "recipe": header.get("config"),
    }
    generator = load_generator(found[0])
    save_generator(generator, output, kept)
    return Shipped(output.stat().st_size / 1e6, int(header.get("steps") or 0), dict(kept["held_out"]))
