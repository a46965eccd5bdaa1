"""`spatialavatar bench` measures, prints a table and writes its numbers."""

from pathlib import Path

import pytest

from spatialavatar.bench import PHASES, phases_of_step, subject
from spatialavatar.cli.main import main
from spatialavatar.input_files import read_json


def test_bench_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spatialavatar.bench.subject", lambda size, gaussians=0: subject(size, 2_000))
    output = tmp_path / "here"
    assert main(["bench", "--sizes", "48", "--threads", "1", "--seconds", "0.1", "-o", str(output)]) == 0
    report = read_json(tmp_path / "here.report.json")
    names = [row["name"] for row in report["rows"]]
    assert "refinement step" in names and "pose and draw" in names
    assert all(0 < row["timing"]["minimum"] <= row["timing"]["median"] for row in report["rows"])
    assert report["machine"]["instruction_set"] in ("base", "v3", "v4")
    printed = capsys.readouterr().out
    assert "refinement step" in printed and "undo blending" in printed


def test_phases_make_up_a_step() -> None:
    phases = phases_of_step(48, 1, 0.05, 2_000)
    assert set(PHASES) < set(phases) and all(value > 0 for value in phases.values())


@pytest.mark.parametrize("wrong", [["--sizes", "8"], ["--threads", "0"], ["--seconds", "0"]])
def test_bad_options_are_named(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err
