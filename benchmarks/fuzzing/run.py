"""Runs inputs in child processes, each with a limit of memory and of time, and counts what came of them."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fuzzing.mutate import mutated
from benchmarks.fuzzing.outcome import FAULTS, OUTCOMES, outcome_of
from benchmarks.fuzzing.readers import Reader, Tree

MEMORY = 768 << 20
"""Bytes that one child may reserve beyond what it has when it is forked."""
SECONDS = 10.0
"""For one input."""
INPUTS_PER_CHILD = 2000
"""Memory that the libraries keep would add up."""
_STATE = struct.Struct("<qd")  # the input that is being read, and when it was begun


@dataclass
class Tally:
    """Counts by outcome, and the first of every kind of fault."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def faults(self) -> int:
        return sum(self.counts[outcome] for outcome in FAULTS)


def damaged(reader: Reader, number: int, seed: int) -> Tree:
    """The input of a number: one of the reader's files, damaged. The same numbers give the same input."""
    chance = random.Random(f"{reader.name} {seed} {number}")
    tree = dict(chance.choice(reader.trees))
    for _ in range(chance.choice((1, 1, 1, 2))):
        name = chance.choice([name for name in tree if reader.is_target(name)])
        other = chance.choice(list(chance.choice(reader.trees).values()))
        tree[name] = mutated(tree[name], chance, other)
    return tree


@contextlib.contextmanager
def written(reader: Reader) -> Iterator[Scratch]:
    """A place for inputs, in memory where the system has one."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() and os.access(memory, os.W_OK) else None)
    try:
        yield Scratch(reader, Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Scratch:
    """Writes one input after the other to one place; only what differs from the last is written."""

    def __init__(self, reader: Reader, folder: Path):
        self.reader, self.folder, self.now = reader, folder, Tree()

    def put(self, tree: Tree) -> Path:
        """Write an input; returns what the reader is given."""
        for name in self.now.keys() | tree.keys():
            if self.now.get(name) is not tree.get(name) and self.now.get(name) != tree.get(name):
                path = self.folder / name
                if name not in tree:
                    path.unlink()
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(tree[name])
        self.now = tree
        return self.folder / self.reader.given if self.reader.given else self.folder


def fuzz(reader: Reader, seconds: float, most: int | None, seed: int, output: Path) -> Tally:
    """Read damaged inputs until the time is over or there were enough.

    Args:
        reader: Which.
        seconds: For this reader.
        most: Inputs, at most.
        seed: With the number of an input it decides what is damaged.
        output: Inputs with faults are saved here.
    """
    check_valid(reader)
    tally, began, number = Tally(), time.monotonic(), 0
    while time.monotonic() - began < seconds and (most is None or number < most):
        number = _child(reader, number, began + seconds, most, seed, output, tally)
    tally.seconds = time.monotonic() - began
    return tally


def check_valid(reader: Reader) -> None:
    """Read the files that nothing was done to; what the readers import and keep is there before children are forked.

    Raises:
        AssertionError: One of them is refused: damaging it further would show nothing.
    """
    assert reader.trees and all(any(map(reader.is_target, tree)) for tree in reader.trees), reader.name
    for tree in reader.trees:
        with written(reader) as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = scratch.put(tree)
            outcome, what = outcome_of(reader.read, path)
            assert outcome == "ok", f"{reader.name}: a valid input is {outcome}: {what}"


def _child(reader: Reader, first: int, ends: float, most: int | None, seed: int, output: Path, tally: Tally) -> int:
    """Read some inputs in a process of their own; returns the number of the next one."""
    state = mmap.mmap(-1, _STATE.size)
    state[:] = _STATE.pack(first, time.monotonic())
    log = output / f"{reader.name}.log"
    log.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            _read_some(reader, first, ends, most, seed, output, state, log)
        finally:
            os._exit(0)
    status, killed = None, False
    while status is None:
        done, found = os.waitpid(child, os.WNOHANG)
        if done:
            status = found
            break
        number, since = _STATE.unpack(state[:])
        if time.monotonic() - since > SECONDS:
            os.kill(child, signal.SIGKILL)
            _, status, killed = *os.waitpid(child, 0), True
            status = status if isinstance(status, int) else 0
        time.sleep(0.02)
    number, _ = _STATE.unpack(state[:])
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            tally.counts.update(told.get("counts", {}))
            if "fault" in told:
                tally.examples.setdefault(told["fault"], told["what"])
        log.unlink()
    if killed or os.WIFSIGNALED(status):
        fault = "over time" if killed else "signal"
        tally.counts[fault] += 1
        tally.examples.setdefault(fault, f"input {number}: " + ("" if killed else f"signal {os.WTERMSIG(status)}"))
        _save(reader, number, seed, output, fault)
        return int(number) + 1
    return int(number)


def _read_some(
    reader: Reader, first: int, ends: float, most: int | None, seed: int, output: Path, state: mmap.mmap, log: Path
) -> None:
    """What a child does."""
    import resource

    warnings.simplefilter("ignore")
    faulthandler.disable()
    _be_quiet()
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    last = min(first + INPUTS_PER_CHILD, most if most is not None else first + INPUTS_PER_CHILD)
    counts: Counter[str] = Counter()
    with written(reader) as scratch, log.open("a", encoding="utf-8") as notes:
        for number in range(first, last):
            state[:] = _STATE.pack(number, time.monotonic())
            if time.monotonic() > ends:
                break
            outcome, what = outcome_of(reader.read, scratch.put(damaged(reader, number, seed)))
            notes.write(json.dumps({"counts": {outcome: 1}}) + "\n")
            counts[outcome] += 1
            if outcome in FAULTS:
                notes.write(json.dumps({"fault": outcome, "what": f"input {number}: {what}"}) + "\n")
                if counts[outcome] <= 20:
                    _save(reader, number, seed, output, outcome)
            notes.flush()
        else:
            state[:] = _STATE.pack(last, time.monotonic())


def _be_quiet() -> None:
    """Libraries in C write of their own."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)


def _save(reader: Reader, number: int, seed: int, output: Path, fault: str) -> None:
    """Keep an input; of a folder only what was damaged."""
    folder = output / reader.name / f"{fault.replace(' ', '-')}-{seed}-{number}"
    for name, content in damaged(reader, number, seed).items():
        if all(tree.get(name) != content for tree in reader.trees):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def fuzz_here(reader: Reader, count: int, seed: int, folder: Path) -> Tally:
    """The short form, in this process and without limits: stops at the first fault.

    Raises:
        AssertionError: An input came to a fault.
    """
    check_valid(reader)
    tally, scratch = Tally(), Scratch(reader, folder)
    for number in range(count):
        outcome, what = outcome_of(reader.read, scratch.put(damaged(reader, number, seed)))
        assert outcome in OUTCOMES[:2], f"{reader.name}, input {number} of seed {seed}: {outcome}\n{what}"
        tally.counts[outcome] += 1
    return tally
