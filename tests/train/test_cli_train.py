"""`spatialavatar train` end to end on a tiny set on disk."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from spatialavatar.cli.main import main
from spatialavatar.files import only_one_makes
from spatialavatar.generate import checkpoint
from spatialavatar.generate.checkpoint import load_generator, read_generator_header
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.train.run_folder import RunFolder
from tests.train.small import painted

SMALL = [
    *("--config.generator.image-size", "64", "--config.generator.encoder-size", "64"),
    *("--config.generator.canvas-resolution", "24", "--config.layout-resolution", "48"),
    *("--config.generator.unet-widths", "8", "12", "--config.generator.encoder-widths", "8", "8", "8"),
    *("--config.generator.feature-channels", "4", "--config.generator.code-channels", "8"),
    *("--config.image.size", "48", "--config.steps", "4", "--config.validate-every", "2"),
    *("--config.preview-every", "2", "--config.checkpoint-every", "2"),
]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people as a folder of tracked folders."""
    root = tmp_path_factory.mktemp("people")
    for seed in (0, 1):
        write_sequence(painted(seed, 9).cameras[0], root / f"p{seed}.tracked")
    return root


def test_train_stop_resume_and_ship(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    command = ["train", "compact-phase1", "--data", str(people), "--held-out", str(people), "-o", str(run), *SMALL]
    assert main([*command, "--until", "3"]) == 0
    assert main(["train", "resume", str(run)]) == 0
    for name in ("config.json", "record.json", "losses.jsonl", "scores.jsonl", "best.safetensors"):
        assert (run / name).exists(), name
    assert (run / "generator.safetensors").exists() and (run / "previews" / "000004.png").exists()
    shipped = tmp_path / "small.safetensors"
    assert main(["train", "ship", str(run), "-o", str(shipped)]) == 0
    record = read_generator_header(shipped).header["record"]
    assert record["data"] == [people.name] and "psnr_k1" in record["texture_start"]
    assert str(tmp_path) not in str(record)
    assert load_generator(shipped).config.canvas_resolution == 24
    assert main(["train", "ship", str(run), "--last", "-o", str(shipped)]) == 0
    record = read_generator_header(shipped).header["record"]
    assert record["steps"] == 4 and "psnr_k4" in record["held_out"]
    capsys.readouterr()
    assert main(command) == 2
    assert "a run is in this folder already" in capsys.readouterr().err


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_again(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = ["train", "compact-phase1", "--data", str(people), *SMALL, "--config.log-every", "1"]
    assert main([*command, "-o", str(whole)]) == 0

    def stopped(folder: RunFolder, step: int) -> bool:
        signal.raise_signal(signal.SIGINT)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "open_board", stopped)
        capsys.readouterr()
        assert main([*command, "-o", str(run)]) == 130
    said = capsys.readouterr().out
    told = "Stopped before there was a checkpoint: the run will start anew. Go on with: spatialavatar train resume"
    assert told in said.replace("\n", " ") and "nothing is lost" not in said
    (run / "losses.jsonl").write_text('{"step": 1, "loss": 5.0}\n{"st')  # as a kill leaves it
    with only_one_makes(run):
        assert main(["train", "resume", str(run)]) == 2
        assert "another run is making this" in capsys.readouterr().err
    assert main(["train", "resume", str(run)]) == 0
    assert "There is no checkpoint to go on from yet: the run starts anew." in capsys.readouterr().err

    def losses(folder: Path) -> list[float]:
        return [json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()]

    assert losses(run) == losses(whole) and len(losses(run)) == 4
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_shipped_model_goes_on_with_other_people(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", "compact-phase1", "--data", str(people), "-o", str(first), *SMALL]) == 0
    monkeypatch.setattr(checkpoint, "shipped_generator", lambda: first / "generator.safetensors")
    assert (
        main(["train", "compact-phase1", "--data", str(people), "--start", "shipped", "-o", str(second), *SMALL]) == 0
    )
    record = read_generator_header(second / "generator.safetensors").header["record"]["record"]
    assert record["start"] == "generator.safetensors"
    monkeypatch.setattr(checkpoint, "shipped_generator", lambda: None)
    capsys.readouterr()
    third = str(tmp_path / "third")
    assert main(["train", "compact-phase1", "--data", str(people), "--start", "shipped", "-o", third, *SMALL]) == 2
    assert "comes without a trained generator" in capsys.readouterr().err


def test_wrong_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "phase1", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "run")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert main(["train", "resume", str(tmp_path / "none")]) == 2
    assert "there is no run in this folder" in capsys.readouterr().err
    assert main(["train", "phase1"]) == 2
