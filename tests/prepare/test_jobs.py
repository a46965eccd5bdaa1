"""Work by processes: nothing lost, nothing done twice, also when one is killed."""

import os
import signal
from pathlib import Path

import pytest

from spatialavatar.errors import UserError
from spatialavatar.prepare.jobs import run_jobs
from tests.prepare.work import count


class KillsOnce:
    """Progress that kills a process of the run after some pieces."""

    def __init__(self, after: int):
        self.after, self.pids, self.done = after, [], 0

    def stage(self, name: str, total: int | None = None):
        from contextlib import contextmanager

        @contextmanager
        def running():
            def advance(steps: int = 1, note: str = "") -> None:
                self.done += steps
                if self.done >= self.after and self.pids:
                    os.kill(self.pids[0], signal.SIGKILL)
                    self.pids.clear()
                    self.after = 10**9

            yield advance

        return running()

    def note(self, text: str) -> None:
        pass


def finished(folder: Path) -> dict[str, int]:
    return {path.stem: len(path.read_text().splitlines()) for path in folder.glob("*.log")}


def test_a_thousand_pieces_with_one_process_killed(tmp_path: Path) -> None:
    pieces = [(f"p{k:04d}", k) for k in range(1000)]
    kills = KillsOnce(after=300)
    outcome = run_jobs(pieces, count, tmp_path, workers=2, progress=kills, started=kills.pids.append)
    assert outcome.deaths == 1 and not outcome.failed
    assert {name: report["doubled"] for name, report in outcome.done.items()} == {n: 2 * k for n, k in pieces}
    times = finished(tmp_path)
    assert set(times) == {name for name, _ in pieces}
    # The piece that the killed process was at may have been finished and not yet reported; no other is done twice.
    assert sum(times.values()) <= len(pieces) + 1


def test_what_is_done_is_not_done_again_and_failures_are_kept(tmp_path: Path) -> None:
    pieces = [("a", 1), ("b", -1), ("c", 3)]
    first = run_jobs(pieces, count, tmp_path)
    assert set(first.done) == {"a", "c"} and first.failed == {"b": "b: it is negative."}
    second = run_jobs([*pieces, ("d", 4)], count, tmp_path)
    assert second.before == 2 and set(second.done) == {"a", "c", "d"} and set(second.failed) == {"b"}
    third = run_jobs([("a", 1), ("b", 2), ("c", 3), ("d", 4)], count, tmp_path, again=True)
    assert set(third.done) == {"a", "b", "c", "d"} and not third.failed
    assert finished(tmp_path) == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_piece_that_takes_processes_with_it_is_given_up(tmp_path: Path) -> None:
    outcome = run_jobs([("a", 1), ("bad", None), ("c", 3)], count, tmp_path, workers=2)
    assert outcome.failed == {"bad": "2 processes died of it"} and set(outcome.done) == {"a", "c"}
    assert outcome.deaths == 2
    assert outcome.report()["failed"] == outcome.failed


def test_two_pieces_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="called 'a'"):
        run_jobs([("a", 1), ("a", 2)], count, tmp_path)
