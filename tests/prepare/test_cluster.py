"""Work shared out by Ray: the same promises as for processes of one machine."""

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from spatialavatar.errors import UserError
from spatialavatar.prepare import cluster
from spatialavatar.prepare.clip_sets import list_clips, prepare_clips
from spatialavatar.prepare.shards import check_shards
from tests.prepare.dry import dry_track
from tests.prepare.work import count
from tests.sequence.readers.test_clips import source

CLIPS = 8


class KillsOne:
    """Progress that kills, once so many clips are done, a process that is at another."""

    def __init__(self, folder: Path, after: int):
        self.folder, self.after, self.done, self.killed = folder, after, 0, 0

    @contextmanager
    def stage(self, name: str, total: int | None = None):
        def advance(steps: int = 1, note: str = "") -> None:
            self.done += steps
            if name == "Preparing" and self.done >= self.after and not self.killed:
                for path in (self.folder / "jobs").glob("*.attempts"):
                    try:
                        self.killed = int(json.loads(path.read_text())["process"])
                        os.kill(self.killed, signal.SIGKILL)
                        return
                    except (OSError, ValueError):  # gone while we looked
                        continue

        yield advance

    def note(self, text: str) -> None:
        pass


@pytest.mark.slow
def test_clips_by_two_ray_workers_one_of_them_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'spatialavatar[cluster]'")
    pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'spatialavatar[cluster]'")
    video, out = source(tmp_path / "set" / "c0.mp4", 1), tmp_path / "out"
    for number in range(1, CLIPS):
        (video.parent / f"c{number}.mp4").write_bytes(video.read_bytes())
    found = list_clips("videos", video.parent)
    kills = KillsOne(out, 3)
    outcome = prepare_clips(found, out, workers=2, cluster=cluster.LOCAL, work=dry_track, progress=kills)
    assert not outcome.failed
    assert set(outcome.done) == {f"c{number}" for number in range(CLIPS)}
    finished = {path.name: len(path.read_text().splitlines()) for path in (out / "finished").iterdir()}
    assert set(finished) == set(outcome.done)
    # What the killed process had finished and not yet said so may be done twice; nothing else.
    assert sum(finished.values()) <= CLIPS + 1
    assert check_shards(out / "shards") == [] and not list((out / "jobs").glob("*.attempts"))
    # Nothing is left to do, so no cluster is needed either.
    assert prepare_clips(found, out, workers=2, cluster="nowhere:1", work=dry_track).before == CLIPS


def test_a_piece_is_begun_as_often_as_processes_may_die_of_it(tmp_path: Path) -> None:
    """What Ray does when a process dies: it calls again."""
    (tmp_path / "jobs").mkdir()

    def dies(name: str, piece: object, folder: Path) -> dict:
        raise KeyboardInterrupt  # as good as a crash: nothing after it runs

    row = {"name": "bad", "piece": None}
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            cluster._do_row(row, dies, str(tmp_path), "run")
    assert cluster._do_row(row, dies, str(tmp_path), "run") == {"name": "bad", "deaths": 2}
    assert "2 processes died of it" in (tmp_path / "jobs" / "bad.json").read_text()
    # Another run's stops do not count, and what has a result is not done again.
    for run in ("one", "two", "three"):
        with pytest.raises(KeyboardInterrupt):
            cluster._do_row({"name": "stopped", "piece": 1}, dies, str(tmp_path), run)
    assert cluster._do_row({"name": "stopped", "piece": 1}, count, str(tmp_path), "four")["deaths"] == 0
    assert cluster._do_row({"name": "stopped", "piece": 1}, dies, str(tmp_path), "five")["deaths"] == 0


def test_without_ray_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match="needs Ray Data"):
        cluster.run_on_cluster([("a", 1)], count, tmp_path)
