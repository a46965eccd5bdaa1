"""Sets of clips from end to end: cut, tracked, packed; stopped, damaged, and gone on with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spatialavatar.cli.main import main
from spatialavatar.errors import UserError
from spatialavatar.files import only_one
from spatialavatar.prepare.clip_sets import TrackOptions, list_clips, plan, prepare_clips, reason
from spatialavatar.prepare.shards import check_shards, read_shard
from spatialavatar.sequence.folder import read_sequence
from spatialavatar.sequence.video import write_video
from tests.prepare.dry import dry_track
from tests.sequence.readers.test_clips import source
from tests.track.media import swaying_video


def test_a_set_is_tracked_and_packed_and_what_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips, out = tmp_path / "set", tmp_path / "out"
    clips.mkdir()
    swaying_video(clips / "face.mp4", 3)
    write_video(clips / "nobody.mp4", [np.full((64, 64, 3), 90 + k, np.uint8) for k in range(3)], 25)
    (clips / "half.mp4").write_bytes((clips / "face.mp4").read_bytes()[:500])
    command = ["prepare", "videos", str(clips), "-o", str(out), "--size", "128", "--fast"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "2 clips (1 cannot be used). To do: about 6 frames" in told.out
    assert "nobody failed" in told.err and "no face is found" in told.err and "half" in told.err
    report = json.loads((out / "report.json").read_text())
    assert (report["clips"], report["done"], report["frames"]) == (2, 1, 3)
    # The video that was given is named, not the part of it that was cut and is gone.
    assert set(report["failed"]) == {"nobody"} and str(clips / "nobody.mp4") in report["failed"]["nobody"]
    assert "half.mp4 cannot be used" in report["not_in_set"]["half"]
    (sequence,) = read_shard(out / "shards" / "00000.tar", tmp_path / "unpacked")
    assert len(sequence) == 3 and sequence.width == 128 and bool(sequence.is_valid.all())
    assert (sequence.image(0) == read_sequence(out / "tracked" / "face.tracked").image(0)).all()
    # Once more: nothing is done, and nothing is written.
    times = {path: path.stat().st_mtime_ns for path in (out / "tracked").rglob("*") if path.is_file()}
    packed = (out / "shards" / "00000.tar").stat().st_mtime_ns
    assert main(command) == 0
    assert "1 clips (1 before), 1 failed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (out / "tracked").rglob("*") if path.is_file()} == times
    assert (out / "shards" / "00000.tar").stat().st_mtime_ns == packed


def three(folder: Path) -> Path:
    for name in ("a", "b", "c"):
        source(folder / f"{name}.mp4", 1)
    return folder


def test_what_was_lost_is_done_again_and_nothing_else(tmp_path: Path) -> None:
    found, out = list_clips("videos", three(tmp_path / "set")), tmp_path / "out"
    prepare_clips(found, out, work=dry_track)
    first = (out / "shards" / "00000.tar").read_bytes()
    next((out / "tracked" / "b.tracked" / "images").iterdir()).unlink()
    shutil.rmtree(out / "tracked" / "c.tracked")
    (out / "tracked" / ".a.tracked.x").mkdir()  # as a killed process leaves it
    outcome = prepare_clips(found, out, work=dry_track)
    assert set(outcome.done) == {"a", "b", "c"} and outcome.before == 1
    assert [len((out / "finished" / name).read_text().splitlines()) for name in "abc"] == [1, 2, 2]
    assert (out / "shards" / "00000.tar").read_bytes() == first and check_shards(out / "shards") == []
    assert not list((out / "tracked").glob(".*"))


def test_the_plan_counts_what_is_left_and_learns(tmp_path: Path) -> None:
    folder, out, options = three(tmp_path / "set"), tmp_path / "out", TrackOptions()
    found = list_clips("videos", folder)
    before = plan(found, 1, options, out)
    # Three clips of ten frames: the least number of photometric steps outweighs the rest.
    assert not before.measured and before.hours == pytest.approx(3 * (6 + 10 * 0.14 + 1200 * 0.02) / 3600)
    assert plan(found, 2, TrackOptions(fast=True)).hours < before.hours / 4
    prepare_clips(found, out, options=options, work=dry_track)
    source(folder / "d.mp4", 2)
    after = plan(list_clips("videos", folder), 1, options, out)
    assert (after.clips, after.done, after.frames, after.measured) == (4, 3, 20, True)
    assert 0 < after.hours < before.hours and "by what was done here" in after.sentence()
    assert after.free_gigabytes is not None and after.fits


def test_one_folder_one_run_with_one_choice(tmp_path: Path) -> None:
    found, out = list_clips("videos", three(tmp_path / "set")), tmp_path / "out"
    prepare_clips(found, out, options=TrackOptions(size=256), work=dry_track)
    with pytest.raises(UserError, match="begun with size 256, and now it is 512"):
        prepare_clips(found, out, options=TrackOptions(), work=dry_track)
    with only_one(out), pytest.raises(UserError, match="another run is writing"):
        prepare_clips(found, out, options=TrackOptions(size=256), work=dry_track)
    source(tmp_path / "set" / "a.b.mp4", 1)
    source(tmp_path / "set" / "a_b.mp4", 1)
    with pytest.raises(UserError, match="two clips have the key 'a_b'"):
        prepare_clips(list_clips("videos", tmp_path / "set"), tmp_path / "other", work=dry_track)
    assert not (tmp_path / "other").exists()


def test_a_failure_in_one_line() -> None:
    assert reason("me.mp4: no face is found.\n  Use another.") == "me.mp4: no face is found."
    assert reason("Traceback (most recent call last):\n  File\nValueError: 3\n") == "ValueError: 3"
