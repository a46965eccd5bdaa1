"""Damaged files of every kind, a few hundred for each reader: read or refused, and nothing else.

The long form is `make fuzz-readers`, with limits of memory and time (docs/reliability.md).
"""

import random
import sys
import warnings
from pathlib import Path

import pytest

from benchmarks.fuzzing.mutate import mutated
from benchmarks.fuzzing.outcome import outcome_of
from benchmarks.fuzzing.readers import READERS
from benchmarks.fuzzing.run import damaged, fuzz, fuzz_here
from spatialavatar.errors import UserError


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    if name == "gagavatar-lmdb":
        pytest.importorskip("lmdb", reason="the extra eval is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tally = fuzz_here(READERS[name], READERS[name].quick, 1, tmp_path)
    # Damage that is always, or never, noticed would test little.
    assert sum(tally.counts.values()) == READERS[name].quick
    assert tally.counts["ok"] > 0 and (tally.counts["refused"] > 0 or name == "live-link")


def test_the_same_number_gives_the_same_damage() -> None:
    reader = READERS["motion"]
    assert [damaged(reader, k, 3) for k in range(20)] == [damaged(reader, k, 3) for k in range(20)]
    whole = reader.trees[0]["me.motion.safetensors"]
    assert len({mutated(whole, random.Random(k)) for k in range(50)}) > 40


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UserError("no"), "refused"),
        (ValueError("no"), "other exception"),
        (MemoryError(), "over memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "over memory"),
    ],
)
def test_outcomes_are_told_apart(error: Exception, outcome: str, tmp_path: Path) -> None:
    def read(path: Path) -> None:
        raise error

    assert outcome_of(read, tmp_path)[0] == outcome

    def read_and_hide(path: Path) -> None:
        try:
            raise error
        except Exception:
            raise UserError("something else") from None

    # Memory that ran out is a fault, whatever was said about it in the end.
    assert outcome_of(read_and_hide, tmp_path)[0] == ("over memory" if outcome == "over memory" else "refused")


def test_numbers_that_are_not_finite_are_found(tmp_path: Path) -> None:
    import numpy as np
    import torch

    for value in (float("nan"), [1.0, float("inf")], {"a": np.array([np.nan])}, (torch.tensor([1.0, torch.inf]),)):
        assert outcome_of(lambda path, value=value: value, tmp_path)[0] == "not finite"
    assert outcome_of(lambda path: ([1.0, np.zeros(3)], "nan", None), tmp_path)[0] == "ok"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux keeps to a limit of address space")
def test_the_driver_counts_crashes_hangs_and_bombs_and_keeps_their_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal
    import time

    from benchmarks.fuzzing import run
    from benchmarks.fuzzing.readers import Reader

    monkeypatch.setattr(run, "SECONDS", 0.3)
    seen = b"whole"

    def make(folder: Path) -> None:
        (folder / "0").mkdir()
        (folder / "0" / "file").write_bytes(seen)

    def read(path: Path) -> object:
        content = path.read_bytes()
        what = 0 if content == seen else sum(content) % 6
        if what == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == 2:
            time.sleep(5)
        if what == 3:
            return bytearray(4 << 30)[0]
        if what == 4:
            raise KeyError("x")
        return float("nan") if what == 5 else 1.0

    tally = fuzz(Reader("made-up", make, read, "file"), 60, 40, 0, tmp_path)
    assert sum(tally.counts.values()) == 40 and set(tally.counts) >= {
        *("ok", "other exception", "not finite", "over memory", "over time", "signal")
    }
    kept = {path.parent.name.rsplit("-", 2)[0] for path in tmp_path.rglob("file")}
    assert kept == {"other-exception", "not-finite", "over-memory", "over-time", "signal"}
