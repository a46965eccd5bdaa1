"""Files and folders that are whole or not there, what killed processes leave, and who may write where."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spatialavatar import unfinished
from spatialavatar.errors import UserError
from spatialavatar.files import new_folder_atomically, only_one, only_one_makes, write_atomically, write_json
from spatialavatar.products import FOLDER_FILE, claim_folder
from spatialavatar.unfinished import host_name, tidy

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and fork")

PROCESS = """
import os, signal, sys, time
from pathlib import Path
from spatialavatar import files, locks, unfinished
here = Path(sys.argv[1])
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def hidden(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))


def killed(folder: Path, code: str) -> None:
    """Run lines in a process that kills itself in them."""
    done = subprocess.run([sys.executable, "-c", PROCESS + code, str(folder)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@contextmanager
def running(folder: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """Run lines in a process that says when it is there, and is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS + code, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "there\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stdin):
            if stream is not None:
                stream.close()


HALF_A_FILE = """
with files.write_atomically(here / "me.mp4") as temporary:
    temporary.write_bytes(b"half" * 1000)
    die()
"""
HALF_A_FOLDER = """
with files.new_folder_atomically(here / "me.tracked", overwrite=True) as temporary:
    (temporary / "images").mkdir()
    (temporary / "images" / "00000.jpg").write_bytes(b"x" * 200_000)
    die()
"""
BETWEEN_RENAMES = """
replace = os.replace
def once(source, target):
    replace(source, target)
    die()
os.replace = once
with files.new_folder_atomically(here / "me.tracked", overwrite=True) as temporary:
    (temporary / "new").touch()
"""
WAITS_IN_A_FOLDER = """
with files.new_folder_atomically(here / "me.tracked", overwrite=True) as temporary:
    print("there", flush=True)
    sys.stdin.read()
"""


@needs_kill
@pytest.mark.parametrize(("code", "size"), [(HALF_A_FILE, "4.0 kB"), (HALF_A_FOLDER, "0.2 MB")])
def test_what_a_killed_process_left_is_removed_and_named(
    tmp_path: Path, code: str, size: str, caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path, code)
    assert [entry for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == []
    left = next(name for name in hidden(tmp_path) if not name.endswith("-lock"))
    assert host_name() in left
    tidy(tmp_path)
    assert hidden(tmp_path) == []
    assert left in caplog.text and f"a run that was killed left it ({size})" in caplog.text


@needs_kill
def test_the_next_write_into_the_folder_tidies_it_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed(tmp_path, HALF_A_FOLDER)
    with new_folder_atomically(tmp_path / "me.tracked"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["me.tracked"] and "removed" in caplog.text


@needs_kill
def test_a_folder_that_was_claimed_by_half_is_claimed_again(tmp_path: Path) -> None:
    place = tmp_path / "scores"
    place.mkdir()
    killed(place, HALF_A_FILE)
    claim_folder(place, "evaluate")
    assert hidden(place) == [FOLDER_FILE]


@needs_kill
def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "me.tracked").mkdir()
    (tmp_path / "me.tracked" / "old").touch()
    killed(tmp_path, BETWEEN_RENAMES)
    assert not (tmp_path / "me.tracked").exists()
    tidy(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["me.tracked"]
    assert [entry.name for entry in (tmp_path / "me.tracked").iterdir()] == ["old"]
    assert "me.tracked: put back" in caplog.text


@needs_kill
def test_what_a_running_process_makes_is_left_alone_and_nobody_else_makes_it(tmp_path: Path) -> None:
    with running(tmp_path, WAITS_IN_A_FOLDER) as process:
        before = hidden(tmp_path)
        assert len(before) == 2
        tidy(tmp_path)
        assert hidden(tmp_path) == before
        with (
            pytest.raises(UserError, match="another run is making this"),
            new_folder_atomically(tmp_path / "me.tracked"),
        ):
            pass
        with new_folder_atomically(tmp_path / "you.tracked"):  # another one
            pass
        process.communicate("go on")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["me.tracked", "you.tracked"]


def test_a_replacement_that_fails_puts_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final, replace, calls = tmp_path / "me.tracked", os.replace, []
    final.mkdir()
    (final / "old").touch()

    def second_fails(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(KeyboardInterrupt), new_folder_atomically(final, overwrite=True) as temporary:
        (temporary / "new").touch()
    assert [entry.name for entry in tmp_path.iterdir()] == ["me.tracked"] and (final / "old").exists()


def test_only_what_we_made_is_ever_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = {
        f".me.tracked.spatialavatar-{host_name()}-17-0123abcd": "no owner in it",
        f".me.tracked.spatialavatar-{host_name()}-17-0123abcd-and-more": "another name",
        ".me.tracked.k3_x81yz": "what an earlier version left",
        ".me.tracked.before": "what an earlier version moved out of the way",
        ".me.tracked.spatialavatar-elsewhere-17-0123abcd": "another machine's",
        ".git": "no business of ours",
    }
    (tmp_path / "me.tracked").mkdir()
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thing").touch()
    (tmp_path / ".me.tracked.spatialavatar-elsewhere-17-0123abcd" / unfinished._OWNER).touch()
    tidy(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {*names, "me.tracked"}
    assert all((tmp_path / name / "thing").exists() for name in names)
    assert "this was made on another machine (elsewhere)" in caplog.text
    assert ".me.tracked.k3_x81yz: this seems to be left of a run that was killed" in caplog.text
    assert ".me.tracked.before: this was replaced in a run that was killed" in caplog.text
    tidy(tmp_path, every_host=True)
    assert not (tmp_path / ".me.tracked.spatialavatar-elsewhere-17-0123abcd").exists()


@pytest.mark.parametrize("left", [".me.tracked.before", ".me.tracked.old.k3_x81yz/me.tracked"])
def test_what_an_earlier_version_moved_away_is_put_back(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir(parents=True)
    (tmp_path / left / "thing").touch()
    tidy(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["me.tracked"] and (tmp_path / "me.tracked/thing").exists()


@needs_kill
@pytest.mark.parametrize("hold", ["only_one", "only_one_makes"])
def test_a_second_run_is_refused_while_the_first_runs(tmp_path: Path, hold: str) -> None:
    held = {"only_one": only_one, "only_one_makes": only_one_makes}[hold]
    code = f"with files.{hold}(here):\n    print('there', flush=True)\n    time.sleep(60)\n"
    place = tmp_path / "place"
    place.mkdir()
    with running(place, code):
        with pytest.raises(UserError, match="another run is"), held(place):
            pass
    # Killed, the first one holds nothing any more, and what it left goes with the next.
    with held(place):
        pass
    assert hidden(tmp_path) == [] and hidden(place) == []


@needs_kill
def test_a_forked_child_does_not_hold_its_parents_lock(tmp_path: Path) -> None:
    code = """
with files.only_one_makes(here / "me.avatar"):
    child = os.fork()
    if child == 0:
        os.close(1)
        time.sleep(60)
    print("there", flush=True)
    print(child, flush=True)
    time.sleep(60)
"""
    with running(tmp_path, code) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            for _ in range(100):  # the child may not have closed its files yet
                try:
                    with only_one_makes(tmp_path / "me.avatar"):
                        break
                except UserError:
                    time.sleep(0.02)
            else:
                pytest.fail("the child holds the lock")
        finally:
            os.kill(child, signal.SIGKILL)


def test_contents_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    names = {}
    fsync, replace, opened = os.fsync, os.replace, os.open

    def watched_open(path: Path, *rest: int, **more: int) -> int:
        descriptor = opened(path, *rest, **more)
        names[descriptor] = Path(path).name
        return descriptor

    monkeypatch.setattr(os, "open", watched_open)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append(names[descriptor]), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b))[1])
    write_json(tmp_path / "a.json", {})
    folder = [tmp_path.name] if sys.platform != "win32" else []
    assert order == ["a.json", "rename", *folder]
    order.clear()
    with new_folder_atomically(tmp_path / "me.tracked") as temporary:
        (temporary / "images").mkdir()
        (temporary / "images" / "00000.jpg").touch()
    assert {"00000.jpg", "images", "me.tracked"} >= set(order[: order.index("rename")]) >= {"00000.jpg"}
    assert order[order.index("rename") + 1 :] == folder


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_files_get_the_mode_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    mode = (tmp_path / "plain").stat().st_mode
    with write_atomically(tmp_path / "a") as temporary:
        os.chmod(temporary, 0o600)  # as Safetensors makes them
    with new_folder_atomically(tmp_path / "b") as temporary:
        (temporary / "c").touch(0o600)
    assert (tmp_path / "a").stat().st_mode == mode and (tmp_path / "b" / "c").stat().st_mode == mode


def test_long_names_leave_room_for_hidden_ones(tmp_path: Path) -> None:
    names = ["ä" * 120 + ".json", "ä" * 119 + "öx.json"]  # up to 246 bytes, alike in the first 200
    assert unfinished.lock_path(tmp_path / names[0]) != unfinished.lock_path(tmp_path / names[1])
    for name in names:
        write_json(tmp_path / name, {})
        with only_one_makes(tmp_path / name):
            pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(names)


def test_what_is_not_certain_without_locks_is_only_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left = tmp_path / f".me.tracked.spatialavatar-{host_name()}-17-0123abcd"
    left.mkdir()
    (left / unfinished._OWNER).touch()
    monkeypatch.setattr("spatialavatar.locks._lock", lambda descriptor: False)
    with caplog.at_level(logging.WARNING):
        tidy(tmp_path)
    assert left.exists() and "without file locks here that is not certain" in caplog.text
    monkeypatch.undo()
    tidy(tmp_path)
    assert not left.exists()
