"""What there is to resume from, before a run and after it was stopped, in sentences that are true."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spatialavatar.interrupts import Stopped
from spatialavatar.refine.checkpoint_header import iteration_of
from spatialavatar.text import printable, shell_quoted

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Earlier:
    """What lay beside the output when the command began.

    Attributes:
        checkpoint: Where a refinement keeps its state.
        tracked: The tracked folder that the command makes; None where it makes none.
        resume: Whether it goes on with what is there.
        checkpoint_stamp, tracked_stamp: By which to see that they were replaced since.
    """

    checkpoint: Path
    tracked: Path | None
    resume: bool
    checkpoint_stamp: Stamp
    tracked_stamp: Stamp

    @staticmethod
    def at(output: Path, *, resume: bool, tracks: bool = False) -> Earlier:
        """What lies beside `output` now.

        Args:
            output: NAME.avatar.
            resume: Whether the command goes on with it.
            tracks: Whether the command makes NAME.tracked.
        """
        checkpoint = output.with_suffix(".checkpoint.safetensors")
        tracked = output.with_suffix(".tracked") if tracks else None
        return Earlier(checkpoint, tracked, resume, _stamp(checkpoint), None if tracked is None else _stamp(tracked))

    def sentence(self) -> str | None:
        """What to say before the work begins, where what is there is not what the options let one expect."""
        if self.resume:
            missing = f"There is no {printable(self.checkpoint.name)} to resume from: refinement starts anew."
            return missing if self.checkpoint_stamp is None else None
        iteration = _iteration_of(self.checkpoint)
        if iteration is None:
            return None
        return (
            f"{printable(self.checkpoint.name)}, which a stopped run left after iteration {iteration:,}, will be "
            "replaced. To go on from it, stop this run now and add --resume."
        )

    def kept(self, stopped: KeyboardInterrupt) -> str:
        """What to say after a stop: what is kept, and how to go on from it."""
        iteration = _iteration_of(self.checkpoint)
        if iteration is not None:
            name = shell_quoted(self.checkpoint)
            if _stamp(self.checkpoint) == self.checkpoint_stamp and not self.resume:
                return f"Stopped before there was a checkpoint; {name} is still that of the earlier run."
            if isinstance(stopped, Stopped):
                return f"Stopped after iteration {iteration:,}; nothing is lost. Add --resume to go on from {name}."
            return f"Stopped; the state after iteration {iteration:,} is kept. Add --resume to go on from {name}."
        if self.tracked is not None and (now := _stamp(self.tracked)) is not None:
            if self.resume or now != self.tracked_stamp:
                return f"Stopped; the tracked frames are kept. Add --resume to go on with {shell_quoted(self.tracked)}."
            return f"Stopped; {shell_quoted(self.tracked)} is as it was, and tracking again begins anew."
        return "Stopped before there was anything to go on from: the same command begins anew."


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _iteration_of(checkpoint: Path) -> int | None:
    if not checkpoint.exists():
        return None
    return iteration_of(checkpoint)
