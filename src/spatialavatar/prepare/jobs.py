"""Many pieces of work by several processes: each done exactly once, whatever is killed on the way.

A piece is done when its file of results is there, which is written last and at once. Who dies takes only the piece it
was at with it, and that is begun anew; what fails is kept with its reason and not tried again unless asked.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
from spatialavatar.files import is_file_name, write_json
from spatialavatar.input_files import read_json
from spatialavatar.progress import Progress, Silent

MOST_DEATHS = 2
"""A piece that takes so many processes with it (a crash in a decoder, memory) is given up."""

RESULTS = "jobs"
"""The folder of results, inside that of the products."""

Work = Callable[[str, Any, Path], dict[str, Any]]
"""work(name, piece, folder) -> what to report; writes its products into `folder`."""


@dataclass(frozen=True)
class Outcome:
    """What became of all pieces.

    Attributes:
        done: Name -> what the work reported.
        failed: Name -> why.
        before: How many were done by earlier runs.
        deaths: How many processes died.
        seconds: Of this run.
        work_seconds: What all that is done took, added up over processes and runs.
    """

    done: dict[str, dict[str, Any]]
    failed: dict[str, str]
    before: int
    deaths: int
    seconds: float
    work_seconds: float

    def report(self) -> dict[str, Any]:
        """For report.json."""
        return {
            "done": len(self.done),
            "done_before": self.before,
            "failed": self.failed,
            "processes_died": self.deaths,
            "seconds": round(self.seconds, 1),
            "work_seconds": round(self.work_seconds, 1),
        }


def do_piece(work: Work, name: str, piece: Any, folder: Path) -> Result:
    """Do one piece in this process and write its result; what every way of sharing work calls."""
    began = time.perf_counter()
    try:
        result = Result(name, None, work(name, piece, folder))
    except UserError as error:
        result = Result(name, str(error), {})
    except Exception:
        result = Result(name, traceback.format_exc(limit=-3), {})
    result = replace(result, seconds=time.perf_counter() - began)
    write_result(folder, result)
    return result


@dataclass(frozen=True)
class Result:
    """What became of one piece.

    Attributes:
        name: The piece's.
        failed: Why; None where it is done.
        report: What the work reported.
        seconds: How long it took.
    """

    name: str
    failed: str | None
    report: dict[str, Any]
    seconds: float = 0.0


def write_result(folder: Path, result: Result) -> None:
    """Say that a piece is done, or why it is not; whole or not at all."""
    told: dict[str, Any] = {"done": result.report} if result.failed is None else {"failed": result.failed}
    write_json(_file(folder, result.name), {**told, "seconds": round(result.seconds, 3)})


def read_result(folder: Path, name: str) -> Result | None:
    """What became of a piece; None where nobody has finished it yet, or what is there cannot be read."""
    path = _file(folder, name)
    if not path.exists():
        return None
    try:
        found = read_json(path)
    except UserError:
        return None
    if not isinstance(found, dict) or not found.keys() & {"done", "failed"}:
        return None
    seconds = float(found.get("seconds", 0.0))
    if isinstance(found.get("done"), dict):
        return Result(name, None, found["done"], seconds)
    return Result(name, str(found.get("failed", "for an unknown reason")), {}, seconds)


def forget_result(folder: Path, name: str) -> None:
    """Let a piece be done once more."""
    _file(folder, name).unlink(missing_ok=True)


def known_results(names: Sequence[str], folder: Path) -> dict[str, Result]:
    """The results of earlier runs.

    Raises:
        UserError: Two pieces have one name, or a name cannot be that of a file.
    """
    (folder / RESULTS).mkdir(parents=True, exist_ok=True)
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"two pieces of work are called {name!r}.")
        if not is_file_name(name):
            raise UserError(f"{name!r} cannot be the name of a file.")
    return {name: found for name in names if (found := read_result(folder, name)) is not None}


def _file(folder: Path, name: str) -> Path:
    return folder / RESULTS / f"{name}.json"


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    at: str | None = None


def run_jobs(
    pieces: Sequence[tuple[str, Any]],
    work: Work,
    folder: Path,
    *,
    workers: int = 1,
    again: bool = False,
    progress: Progress | None = None,
    started: Callable[[int], None] = lambda pid: None,
) -> Outcome:
    """Do every piece that is not done yet.

    Args:
        pieces: (name, what `work` gets), names all different.
        work: A function of a module, which new processes can import.
        folder: Where products and, in `folder/jobs`, results lie.
        workers: How many processes.
        again: Try what failed before once more.
        progress: Where to show how far it is.
        started: Called with the id of every process that is started.

    Raises:
        UserError: Two pieces have one name.
    """
    progress, began = progress or Silent(), time.perf_counter()
    names = [name for name, _ in pieces]
    results = known_results(names, folder)
    if again:
        results = {name: found for name, found in results.items() if found.failed is None}
    before = sum(found.failed is None for found in results.values())
    waiting = [(name, piece) for name, piece in pieces if name not in results]
    waiting.reverse()
    deaths: dict[str, int] = {}
    died, failures = 0, len(results) - before
    contents = dict(pieces)
    with progress.stage("Preparing", len(names)) as advance:
        if results:
            advance(len(results), note=f"{before} done before")
        crew = [_hired(work, folder, started) for _ in range(min(workers, len(waiting)))]
        try:
            while crew:
                for worker in crew:
                    if worker.at is None and waiting:
                        worker.at, piece = waiting.pop()
                        # One that died while idle cannot be sent to; what is received of it below says so.
                        with contextlib.suppress(OSError):
                            worker.pipe.send((worker.at, piece))
                busy = [worker for worker in crew if worker.at is not None]
                if not busy:
                    break
                ready = wait([worker.pipe for worker in busy])
                for worker in [w for w in busy if w.pipe in ready]:
                    name = worker.at
                    assert name is not None
                    try:
                        result = worker.pipe.recv()
                    except (EOFError, OSError):
                        # The process is gone; a result it wrote before that counts.
                        died += 1
                        crew.remove(worker)
                        worker.process.join()
                        found = read_result(folder, name)
                        deaths[name] = deaths.get(name, 0) + 1
                        if found is not None and found.failed is None:
                            result = found
                        elif deaths[name] >= MOST_DEATHS:
                            result = given_up(name)
                            write_result(folder, result)
                        else:
                            waiting.append((name, contents[name]))
                            crew.append(_hired(work, folder, started))
                            continue
                        if waiting:
                            crew.append(_hired(work, folder, started))
                    worker.at = None
                    results[name] = result
                    failures += result.failed is not None
                    advance(note=f"{failures} failed" if failures else "")
        finally:
            for worker in crew:
                worker.pipe.close()
                # Idle ones leave by themselves. One that is at work is not waited for: products appear whole or not.
                if worker.at is not None:
                    worker.process.terminate()
                worker.process.join(5)
    return outcome_of(results, before, died, time.perf_counter() - began)


def given_up(name: str) -> Result:
    """The result of a piece that is not tried any more."""
    return Result(name, f"{MOST_DEATHS} processes died of it", {})


def outcome_of(results: Mapping[str, Result], before: int, deaths: int, seconds: float) -> Outcome:
    """All results in one."""
    return Outcome(
        {name: found.report for name, found in results.items() if found.failed is None},
        {name: found.failed for name, found in results.items() if found.failed is not None},
        before,
        deaths,
        seconds,
        sum(found.seconds for found in results.values() if found.failed is None),
    )


def _hired(work: Work, folder: Path, started: Callable[[int], None]) -> _Worker:
    # Forked processes would inherit locks of torch's and MediaPipe's threads.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, folder), daemon=True)
    process.start()
    theirs.close()
    if process.pid is not None:
        started(process.pid)
    return _Worker(process, ours)


def _serve(pipe: Connection, work: Work, folder: Path) -> None:
    """A process's life: pieces in, results out, until the pipe closes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Ctrl-C reaches every process of the terminal; the one that hired this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            name, piece = pipe.recv()
            pipe.send(do_piece(work, name, piece, folder))
        except (EOFError, OSError):
            return
