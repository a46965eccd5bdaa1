"""The same pieces of work as `jobs`, shared out over many machines by Ray Data (extra `cluster`).

All machines must see the folder of products under one path, and have this package installed. A piece's result is
written by whoever did it, last and at once, and a piece that has one is not begun: what Ray does once more when a
machine is lost is done only where it was not finished. Ray keeps no state of ours.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
from spatialavatar.files import write_json
from spatialavatar.input_files import read_json
from spatialavatar.prepare.jobs import (
    MOST_DEATHS,
    RESULTS,
    Outcome,
    Result,
    Work,
    do_piece,
    forget_result,
    given_up,
    known_results,
    outcome_of,
    read_result,
    write_result,
)
from spatialavatar.progress import Progress, Silent

LOCAL = "local"
"""An address: no cluster, but one of this machine's own, for the time of the run."""
_OBJECT_STORE_BYTES = 100_000_000
_ATTEMPTS = 4


def run_on_cluster(
    pieces: Sequence[tuple[str, Any]],
    work: Work,
    folder: Path,
    *,
    address: str = LOCAL,
    workers: int = 1,
    again: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Do every piece that is not done yet, as `jobs.run_jobs` does.

    Args:
        pieces: (name, what `work` gets), names all different.
        work: A function of a module that is installed on every machine.
        folder: Where products and results lie, on a disk that all machines share.
        address: Of a running cluster (`auto`, or HOST:PORT of its head), or `LOCAL`.
        workers: How many pieces at once, over all machines.
        again: Try what failed before once more.
        progress: Where to show how far it is.

    Raises:
        UserError: Ray is missing, or there is no cluster at this address; two pieces have one name.
    """
    progress, began = progress or Silent(), time.perf_counter()
    folder = folder.resolve()
    names = [name for name, _ in pieces]
    results = known_results(names, folder)
    if again:
        for name in [name for name, found in results.items() if found.failed is not None]:
            forget_result(folder, name)
            del results[name]
    before = sum(found.failed is None for found in results.values())
    waiting = [{"name": name, "piece": piece} for name, piece in pieces if name not in results]
    deaths, failures = 0, len(results) - before
    with progress.stage("Preparing", len(names)) as advance:
        if results:
            advance(len(results), note=f"{before} done before")
        if waiting:
            ray = _connected(address, workers)
            try:
                # A block a piece: what is lost with a machine is one piece, and progress is known piece by piece.
                rows = ray.data.from_items(waiting, override_num_blocks=len(waiting))
                together = ray.data.TaskPoolStrategy(size=workers)
                task = partial(_do_row, work=work, folder=str(folder), run=uuid.uuid4().hex)
                for row in rows.map(task, num_cpus=1, compute=together).iter_rows():
                    found = read_result(folder, row["name"])
                    assert found is not None
                    results[found.name] = found
                    deaths += int(row["deaths"])
                    failures += found.failed is not None
                    advance(note=f"{failures} failed" if failures else "")
            finally:
                ray.shutdown()
    return outcome_of(results, before, deaths, time.perf_counter() - began)


def _do_row(row: dict[str, Any], work: Work, folder: str, run: str) -> dict[str, Any]:
    """One piece, by whichever process Ray chose; it may be called again for a piece that a lost process was at."""
    place, name = Path(folder), str(row["name"])
    attempts = place / RESULTS / f"{name}.attempts"
    earlier = _attempts(attempts, run)
    if read_result(place, name) is None:
        if earlier >= MOST_DEATHS:
            write_result(place, given_up(name))
        else:
            write_json(attempts, {"run": run, "begun": earlier + 1, "process": os.getpid()})
            _done(work, name, row["piece"], place)
    attempts.unlink(missing_ok=True)
    return {"name": name, "deaths": earlier}


def _done(work: Work, name: str, piece: Any, folder: Path) -> Result:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return do_piece(work, name, piece, folder)


def _attempts(path: Path, run: str) -> int:
    """How often this run has begun a piece that nobody finished; what other runs were stopped at does not count."""
    if not path.exists():
        return 0
    try:
        found = read_json(path)
    except UserError:
        return 0
    return int(found["begun"]) if isinstance(found, dict) and found.get("run") == run else 0


def _connected(address: str, workers: int) -> Any:
    """Ray, with a cluster behind it."""
    # Nothing is sent to Ray's makers, and its workers' words do not mix with ours.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(
            f"sharing work over machines needs Ray Data ({error}).", hint="pip install 'spatialavatar[cluster]'"
        ) from None
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": False}
    for attempt in range(_ATTEMPTS):
        try:
            if address == LOCAL:
                ray.init(num_cpus=workers, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **shared)
            else:
                ray.init(address=address, **shared)
            break
        except Exception as error:  # Ray's own say no more than that
            ray.shutdown()
            # A busy machine may take longer than the half minute that Ray gives it.
            if address == LOCAL and attempt + 1 < _ATTEMPTS and "timed out" in str(error):
                continue
            raise UserError(
                f"there is no Ray cluster at {address!r} ({(str(error) or type(error).__name__).splitlines()[0]}).",
                hint="Start one with `ray start --head` and give its address, or `local` for this machine alone.",
            ) from None
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.verbose_progress = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
