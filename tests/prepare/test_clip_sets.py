"""Which clips of a set are wanted, and what preparing them will take."""

from pathlib import Path

import pytest

from spatialavatar.cli.main import main
from spatialavatar.errors import UserError
from spatialavatar.prepare.clip_sets import TrackOptions, list_clips, plan
from tests.sequence.readers.test_clips import source


def test_the_plan_is_told_before_anything_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    source(folder / "a.mp4", 2)
    source(folder / "b.mp4", 1)
    found = list_clips("videos", folder)
    told = plan(found, 2, TrackOptions())
    assert (told.clips, told.frames) == (2, 30)
    assert main(["prepare", "videos", str(folder), "-o", str(tmp_path / "out"), "--plan"]) == 0
    assert "2 clips (0 cannot be used). To do: about 30 frames" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert [clip.name for clip in list_clips("videos", folder, ("b",)).clips] == ["b"]
    with pytest.raises(UserError, match="no clip 'c'"):
        list_clips("videos", folder, ("c",))
    with pytest.raises(UserError, match="no set 'imagenet'"):
        list_clips("imagenet", folder)
    assert main(["prepare", "videos", str(folder), "-o", str(tmp_path / "out"), "--workers", "0"]) == 2


def test_a_set_that_is_half_there_counts_what_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    source(folder / "a.mp4", 1)
    (folder / "b.mp4").write_bytes(b"half")
    found = list_clips("videos", folder)
    told = plan(found, 1, TrackOptions())
    assert (told.clips, told.skipped, told.frames) == (1, 1, 10)
    assert found.skipped[0].where == "b" and "b.mp4 cannot be used" in found.skipped[0].why
