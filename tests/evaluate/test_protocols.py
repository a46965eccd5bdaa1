"""Protocols: the files are whole, and following them gives the tables they promise."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatialavatar.cli.main import main
from spatialavatar.errors import UserError
from spatialavatar.evaluate.follow import follow
from spatialavatar.evaluate.frames import sources_of_first_half, sources_over_clip, targets_of
from spatialavatar.evaluate.protocol import load_protocol, protocol_ids
from spatialavatar.evaluate.run import Options
from spatialavatar.evaluate.score import METRICS
from spatialavatar.evaluate.table import paper_table
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from tests.synthetic import subject

QUICKLY = Options(metrics=("psnr",))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> TrackedSequence:
    return write_sequence(subject(8, 64).sequence, tmp_path_factory.mktemp("clips") / "me.tracked")


@pytest.mark.parametrize("id", protocol_ids())
def test_every_protocol_is_whole(id: str) -> None:
    protocol = load_protocol(id)
    assert set(protocol.metrics) <= set(METRICS)
    assert protocol.table is not None and paper_table(protocol.table).rows
    assert protocol.kind in ("self", "cross", "avatars", "multi")


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(UserError, match="no protocol 'vfhq'"):
        load_protocol("vfhq")


def test_more_sources_for_the_same_targets(clip: TrackedSequence, tmp_path: Path) -> None:
    protocol = replace(load_protocol("multi-source-1"), counts=(1, 2))
    outcome = follow(protocol, [clip], tmp_path, QUICKLY, resolution=48)
    runs = outcome.contents["runs"]
    assert list(runs) == ["texture, K = 1", "texture, K = 2"]
    for count, run in zip((1, 2), runs.values(), strict=True):
        assert len(run["source_frames"]["me"]) == count and run["source_frames"]["me"][0] == 0
        assert run["metrics"]["psnr"]["frames"] == 4  # the second half
    table = (tmp_path / "table.md").read_text()
    assert "| K = 1 | 23.01 |" in table and "| **texture, K = 2** |" in table


def test_sources_spread_over_the_clip_against_all_other_frames(clip: TrackedSequence, tmp_path: Path) -> None:
    protocol = replace(load_protocol("multi-source-2"), counts=(1, 3))
    runs = follow(protocol, [clip], tmp_path, QUICKLY, resolution=48).contents["runs"]
    assert [run["source_frames"]["me"] for run in runs.values()] == [[0], [0, 4, 2]]
    for run in runs.values():
        assert run["metrics"]["psnr"]["frames"] == 4  # 1, 3, 5 and 7: the fourth source is no target either
    assert targets_of(clip, "between", (1, 4)) == (3, 5, 7)  # no source is scored, wherever it lies
    few = replace(clip, valid=torch.arange(8) < 3)
    with pytest.raises(UserError, match="3 frames to spread four sources over"):
        sources_over_clip(few, 1)


def test_a_set_of_another_size_is_said_so(clip: TrackedSequence, tmp_path: Path) -> None:
    outcome = follow(load_protocol("vfhq-self-1"), [clip], tmp_path, QUICKLY, resolution=48)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["protocol"] == "vfhq-self-1" and "has 50" in report["protocol_incomplete"]
    assert outcome.contents["background"] == "black"


def test_ready_avatars_are_asked_for(clip: TrackedSequence, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scores ready avatars"):
        follow(load_protocol("splattingavatar-1"), [clip], tmp_path, QUICKLY)


def test_sources_come_from_the_first_half(clip: TrackedSequence) -> None:
    assert sources_of_first_half(clip, 1) == (0,)
    assert set(sources_of_first_half(clip, 3)) <= {0, 1, 2, 3}
    with pytest.raises(UserError, match="4 frames to choose 5 sources from"):
        sources_of_first_half(clip, 5)


def test_protocols_belong_to_their_commands(clip: TrackedSequence, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "out")]
    assert main(["evaluate", "self", str(clip.folder), "--protocol", "vfhq-cross-1", *out]) == 2
    assert main(["evaluate", "cross", str(clip.folder), "--protocol", "vfhq-self-1", *out]) == 2
    assert main(["evaluate", "self", str(clip.folder), "--count", "5", *out]) == 2
