"""Many pieces of work by several processes: each done exactly once, whatever is killed on the way.

A piece is done when its file of results is there, which is written last and at once. Who dies takes only the piece it
was at with it, and that is begun anew; what fails is kept with its reason and not tried again unless asked.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
from spatialavatar.files import read_json, write_json
from spatialavatar.progress import Progress, Silent

MOST_DEATHS = 2
"""A piece that takes so many processes with it (a crash in a decoder, memory) is given up."""

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
    """

    done: dict[str, dict[str, Any]]
    failed: dict[str, str]
    before: int
    deaths: int
    seconds: float

    def report(self) -> dict[str, Any]:
        """For report.json."""
        return {
            "done": len(self.done),
            "done_before": self.before,
            "failed": self.failed,
            "processes_died": self.deaths,
            "seconds": round(self.seconds, 1),
        }


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
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two pieces of work are called {twice!r}.")
    results = folder / "jobs"
    results.mkdir(parents=True, exist_ok=True)
    done, failed = _known(names, results)
    if again:
        failed = {}
    before = len(done)
    waiting = [(name, piece) for name, piece in pieces if name not in done and name not in failed]
    waiting.reverse()
    deaths: dict[str, int] = {}
    died = 0
    contents = dict(pieces)
    with progress.stage("Preparing", len(names)) as advance:
        if before or failed:
            advance(before + len(failed), note=f"{before} done before")
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
                        problem, report = worker.pipe.recv()
                    except (EOFError, OSError):
                        # The process is gone; a result it wrote before that counts.
                        died += 1
                        crew.remove(worker)
                        worker.process.join()
                        found = _result(results / f"{name}.json")
                        deaths[name] = deaths.get(name, 0) + 1
                        if found is not None and "done" in found:
                            problem, report = None, found["done"]
                        elif deaths[name] >= MOST_DEATHS:
                            problem, report = f"{MOST_DEATHS} processes died of it", {}
                            write_json(results / f"{name}.json", {"failed": problem})
                        else:
                            waiting.append((name, contents[name]))
                            crew.append(_hired(work, folder, started))
                            continue
                        if waiting:
                            crew.append(_hired(work, folder, started))
                    worker.at = None
                    if problem is None:
                        done[name] = report
                    else:
                        failed[name] = problem
                    advance(note=f"{len(failed)} failed" if failed else "")
        finally:
            for worker in crew:
                worker.pipe.close()
                worker.process.join(5)
                if worker.process.is_alive():
                    worker.process.terminate()
    return Outcome(done, failed, before, died, time.perf_counter() - began)


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
    while True:
        try:
            name, piece = pipe.recv()
        except (EOFError, OSError):
            return
        problem, report = None, {}
        try:
            report = work(name, piece, folder)
        except UserError as error:
            problem = str(error)
        except Exception:
            problem = traceback.format_exc(limit=-3)
        write_json(folder / "jobs" / f"{name}.json", {"done": report} if problem is None else {"failed": problem})
        pipe.send((problem, report))


def _known(names: Sequence[str], results: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    done, failed = {}, {}
    for name in names:
        found = _result(results / f"{name}.json")
        if found is not None and "done" in found:
            done[name] = found["done"]
        elif found is not None:
            failed[name] = str(found.get("failed", "for an unknown reason"))
    return done, failed


def _result(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        found = read_json(path)
    except UserError:
        return None
    return found if isinstance(found, dict) and found else None
