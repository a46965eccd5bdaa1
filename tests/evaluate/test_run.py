"""Evaluations from end to end on a subject made from nothing: numbers, files, resumption, and what is refused."""

import csv
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatialavatar.avatar.file import save_avatar
from spatialavatar.cli.main import main
from spatialavatar.errors import UserError
from spatialavatar.evaluate.pictures import FolderPictures, SequencePictures, target_of
from spatialavatar.evaluate.run import (
    Options,
    evaluate_cross,
    evaluate_pictures,
    evaluate_self,
    open_clips,
    open_pictures,
)
from spatialavatar.evaluate.score import QUICK, open_tools, score_pictures
from spatialavatar.evaluate.table import paper_table
from spatialavatar.generate.checkpoint import save_generator
from spatialavatar.sequence.folder import read_sequence, write_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from tests.generate.small import small_generator
from tests.oracles.onnx_file import linear_network
from tests.splat.test_lpips import weights as lpips_weights
from tests.synthetic import Subject, subject
from tests.track.media import astronaut

FRAMES, SIZE = 6, 96
QUICKLY = Options(metrics=("psnr", "ssim"))


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(FRAMES, SIZE)


@pytest.fixture(scope="module")
def clip(made: Subject, tmp_path_factory: pytest.TempPathFactory) -> TrackedSequence:
    return write_sequence(made.sequence, tmp_path_factory.mktemp("clips") / "me.tracked")


def test_self_reenactment_scores_every_later_frame(clip: TrackedSequence, tmp_path: Path) -> None:
    options = replace(QUICKLY, beside=paper_table("vfhq_self"))
    outcome = evaluate_self([clip], tmp_path, options, resolution=48)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["metrics"]["psnr"]["frames"] == FRAMES - 1 and report["source_frames"] == {"me": [0]}
    assert report["metrics"]["psnr"]["id"] == "psnr.rgb8-ceiling100-1"
    predictions = sorted((tmp_path / "clips" / "me" / "predictions").glob("*.png"))
    assert [path.stem for path in predictions] == list(clip.names[1:])
    with (tmp_path / "frames.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    # The numbers in the table are those of the pictures that lie there.
    for row, path in zip(rows, predictions, strict=True):
        target, _ = target_of(clip, clip.names.index(path.stem), "white")
        error = np.square((np.asarray(Image.open(path)).astype(float) - target) / 255).mean()
        assert float(row["psnr"]) == pytest.approx(-10 * np.log10(error), abs=1e-3)  # written with six digits
    assert outcome.summary.means["psnr"].mean == pytest.approx(np.mean([float(row["psnr"]) for row in rows]), abs=1e-3)
    table = (tmp_path / "table.md").read_text()
    assert "| GAGAvatar | 21.83 |" in table and "| **texture, K = 1** |" in table
    assert Image.open(tmp_path / "contact_sheet.png").size[0] > 3 * SIZE


def test_a_ready_avatar_that_is_the_truth_scores_high(made: Subject, clip: TrackedSequence, tmp_path: Path) -> None:
    file = tmp_path / "me.avatar"
    save_avatar(made.avatar, file)
    outcome = evaluate_self([clip], tmp_path / "out", QUICKLY, avatar_file=file, targets="all")
    # The truth was drawn without a background and cut by its matte; bytes and soft edges are what is lost.
    assert outcome.summary.means["psnr"].mean > 35
    assert outcome.contents["avatar"] == "me.avatar" and outcome.contents["start"] is None


class Interrupted(Exception):
    pass


class StopsAt:
    """Progress that stops the run at a step of a stage."""

    def __init__(self, stage: str, step: int):
        self._stage, self._step = stage, step

    @contextmanager
    def stage(self, name: str, total: int | None = None):
        done = 0

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done
            done += steps
            if name.startswith(self._stage) and done >= self._step:
                raise Interrupted

        yield advance

    def note(self, text: str) -> None:
        pass


def test_a_stopped_run_goes_on_to_the_same_numbers(clip: TrackedSequence, tmp_path: Path) -> None:
    whole = evaluate_self([clip], tmp_path / "whole", QUICKLY, resolution=48)
    out = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        evaluate_self([clip], out, QUICKLY, resolution=48, progress=StopsAt("Drawing", 3))
    pictures = {path.name: path.stat().st_mtime_ns for path in (out / "clips/me/predictions").glob("*.png")}
    assert len(pictures) == 3
    with pytest.raises(Interrupted):
        evaluate_self([clip], out, QUICKLY, resolution=48, progress=StopsAt("Scoring", 2))
    again = evaluate_self([clip], out, QUICKLY, resolution=48)
    assert {name: (out / "clips/me/predictions" / name).stat().st_mtime_ns for name in pictures} == pictures
    assert again.summary.means["psnr"] == whole.summary.means["psnr"]


def test_what_was_scored_is_not_scored_again_unless_pictures_change(clip: TrackedSequence, tmp_path: Path) -> None:
    evaluate_self([clip], tmp_path, QUICKLY, resolution=48)
    kept = json.loads((tmp_path / "clips/me/frames.json").read_text())
    kept["columns"]["psnr"][0] = 77.0
    (tmp_path / "clips/me/frames.json").write_text(json.dumps(kept))
    pictures = SequencePictures(tmp_path / "clips/me/predictions", clip, tuple(range(1, FRAMES)))
    with open_tools(("psnr", "ssim")) as tools:
        assert score_pictures(pictures, tools, keep=tmp_path / "clips/me").columns["psnr"].values[0] == 77
        changed = tmp_path / "clips/me/predictions" / f"{clip.names[1]}.png"
        Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(changed)
        again = SequencePictures(tmp_path / "clips/me/predictions", clip, tuple(range(1, FRAMES)))
        assert score_pictures(again, tools, keep=tmp_path / "clips/me").columns["psnr"].values[0] < 20


def test_what_was_not_filmed_is_not_scored(clip: TrackedSequence, tmp_path: Path) -> None:
    evaluate_self([clip], tmp_path, QUICKLY, resolution=48)
    predictions = tmp_path / "clips/me/predictions"
    name = clip.names[1]
    seen = np.asarray(Image.open(predictions / f"{name}.png")).copy()
    seen[:, :41] = 0  # somebody draws more than was filmed
    Image.fromarray(seen).save(predictions / f"{name}.png")
    box = torch.tensor([38.5, 0.0, float(SIZE), float(SIZE)]).expand(FRAMES, 4)
    cut = replace(clip, source_boxes=box)
    pair = SequencePictures(predictions, cut, (1,), background="grey").pair(0)
    # From column 41 on: 38.5, up to a whole pixel, and a fortieth of the 57.5 that remain, which is two.
    assert (pair.prediction[:, :41] == 128).all() and (pair.target[:, :41] == 128).all()
    assert np.array_equal(pair.prediction[:, 41:], seen[:, 41:])
    whole = SequencePictures(predictions, clip, (1,), background="grey").pair(0)
    assert (whole.prediction[:, :41] == 0).all()


def test_other_settings_draw_anew(clip: TrackedSequence, tmp_path: Path) -> None:
    white = evaluate_self([clip], tmp_path, QUICKLY, resolution=48)
    black = evaluate_self([clip], tmp_path, replace(QUICKLY, background="black"), resolution=48)
    assert white.summary.means["psnr"].mean != black.summary.means["psnr"].mean
    picture = np.asarray(Image.open(tmp_path / f"clips/me/predictions/{clip.names[1]}.png"))
    assert picture[0, 0].tolist() == [0, 0, 0]


def test_cross_reenactment_compares_no_pixels(made: Subject, clip: TrackedSequence, tmp_path: Path) -> None:
    other = write_sequence(subject(3, SIZE, seed=1).sequence, tmp_path / "you.tracked")
    outcome = evaluate_cross([(other, clip)], tmp_path / "out", Options(metrics=("psnr", "blink")), resolution=48)
    assert "psnr" not in outcome.summary.means
    found = outcome.contents["clips"][0]
    assert found["clip"] == "you--me" and found["frames"] == FRAMES
    assert len(list((tmp_path / "out/clips/you--me/predictions").glob("*.png"))) == FRAMES


def pictures(folder: Path, images: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for name, image in images.items():
        Image.fromarray(image).save(folder / name)
    return folder


def test_pictures_of_any_method_are_scored(tmp_path: Path) -> None:
    face = np.ascontiguousarray(astronaut()[:256, 96:352])
    black = np.zeros_like(face)
    targets = pictures(tmp_path / "targets", {f"{k}.png": face for k in range(4)})
    predictions = pictures(tmp_path / "ours", {"0.jpg": face, "1.png": black, "3.png": face, "notes.png": face})
    (predictions / "readme.txt").write_text("not a picture")
    options = Options(metrics=("psnr", "akd", "blink", "psnr_face"))
    outcome = evaluate_pictures([FolderPictures(predictions, targets)], tmp_path / "out", options, label="theirs")
    found = outcome.contents["clips"][0]
    assert (found["frames"], found["frames_without_prediction"]) == (3, 1)
    assert (found["targets_without_face"], found["predictions_without_face"]) == (0, 1)
    # The picture without a face is in PSNR, where it can be measured, and not in AKD as a zero.
    assert outcome.summary.means["psnr"].frames == 3 and outcome.summary.means["akd"].frames == 2
    assert any("no face is found in 0 targets and 1 predictions" in note for note in outcome.notes)
    assert any("have no prediction" in note for note in outcome.notes)
    assert outcome.summary.means["akd"].mean < 0.5  # a JPEG moves landmarks by less than half a pixel


def test_transparent_predictions_lie_over_the_background(tmp_path: Path) -> None:
    white = np.full((40, 40, 3), 255, np.uint8)
    clear = np.zeros((40, 40, 4), np.uint8)
    targets = pictures(tmp_path / "targets", {"a.png": white})
    pair = FolderPictures(pictures(tmp_path / "ours", {"a.png": clear}), targets).pair(0)
    assert (pair.prediction == 255).all()


def test_folders_of_clips_are_matched_by_name(clip: TrackedSequence, tmp_path: Path) -> None:
    assert clip.folder is not None
    shutil.copytree(clip.folder, tmp_path / "targets" / "me.tracked")
    images = {f"{name}.png": clip.image(k).numpy() for k, name in enumerate(clip.names)}
    pictures(tmp_path / "ours" / "me", images)
    (found,) = open_pictures(tmp_path / "ours", tmp_path / "targets", None, "white")
    assert found.clip == "me" and len(found.names) == FRAMES
    shutil.rmtree(tmp_path / "ours" / "me")
    with pytest.raises(UserError, match="no folder of predictions for the clip 'me'"):
        open_pictures(tmp_path / "ours", tmp_path / "targets", None, "white")


def test_pictures_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    targets = pictures(tmp_path / "targets", {"a.png": picture})
    small = FolderPictures(pictures(tmp_path / "small", {"a.png": picture[:20]}), targets)
    with pytest.raises(UserError, match="40 x 20 pixels and its target 40 x 40"):
        small.pair(0)
    other = FolderPictures(pictures(tmp_path / "other", {"b.png": picture}), targets)
    with pytest.raises(UserError, match="no picture here has the name"):
        _ = other.names
    twice = FolderPictures(pictures(tmp_path / "twice", {"a.png": picture, "a.jpg": picture}), targets)
    with pytest.raises(UserError, match="two pictures have one name"):
        _ = twice.names
    (tmp_path / "small" / "a.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be read"):
        small.pair(0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no picture in this folder"):
        _ = FolderPictures(tmp_path / "empty", targets).names


def test_sources_and_targets_that_are_not_there_are_refused(made: Subject, tmp_path: Path) -> None:
    valid = torch.ones(FRAMES, dtype=torch.bool)
    valid[0] = False
    sequence = write_sequence(replace(made.sequence, valid=valid), tmp_path / "me.tracked")
    for sources, message in (((9,), "no frame 9"), ((0,), "frame 0 shows no face"), ((5,), "no frame after frame 5")):
        with pytest.raises(UserError, match=message):
            evaluate_self([sequence], tmp_path / "out", QUICKLY, sources=sources, resolution=48)
    with pytest.raises(UserError, match="at least 50"):
        evaluate_self([sequence], tmp_path / "out", QUICKLY, sources=(1,), targets="tail", resolution=48)
    with pytest.raises(UserError, match="no metric 'sharpness'"):
        evaluate_self([sequence], tmp_path / "out", Options(metrics=("sharpness",)), sources=(1,))
    with pytest.raises(UserError, match="expected a video or a tracked folder"):
        open_clips([tmp_path / "me.tracked" / "sequence.json"], tmp_path)
    with pytest.raises(UserError, match="two clips are called 'me'"):
        open_clips([tmp_path / "me.tracked", tmp_path / "me.tracked"], tmp_path)


def test_a_metric_asked_for_by_name_must_be_there(
    clip: TrackedSequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("SPATIALAVATAR_LPIPS", "SPATIALAVATAR_ARCFACE"):
        monkeypatch.delenv(name, raising=False)
    for metric, message in (("lpips", "AlexNet"), ("csim", "ArcFace")):
        with pytest.raises(UserError, match=message), open_tools((metric,)):
            pass
    with open_tools() as tools:
        assert "lpips" not in tools.metrics and "psnr" in tools.metrics
        assert any("LPIPS is left out" in note for note in tools.notes)


def test_the_command(clip: TrackedSequence, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores"
    arguments = ["evaluate", "self", str(clip.folder), "--source-frame", "0", "--start", "texture", "-o", str(out)]
    assert main([*arguments, "--fast", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "PSNR" in printed and "SSIM" in printed and "report.json" in printed
    report = json.loads((out / "report.json").read_text())
    assert {"mse", "psnr", "ssim"} <= set(report["metrics"]) <= set(QUICK)
    assert main(["evaluate", "self", str(clip.folder), "--start", "generator", "--checkpoint", "no", "-o", "x"]) == 2
    predictions = out / "clips" / "me" / "predictions"
    theirs = ["evaluate", "--predictions", str(predictions), "--targets", str(clip.folder), "-o", str(tmp_path / "t")]
    assert main([*theirs, "--metrics", "psnr"]) == 0
    again = json.loads((tmp_path / "t" / "report.json").read_text())
    assert again["metrics"]["psnr"]["mean"] == report["metrics"]["psnr"]["mean"]
    assert again["clips"][0]["frames_without_prediction"] == 1  # the source frame


def test_folders_that_cannot_be_written_are_refused(clip: TrackedSequence, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert main(["evaluate", "self", str(clip.folder), "-o", str(tmp_path / "file")]) == 2
    assert main(["evaluate", "self", str(clip.folder), "-o", str(tmp_path / "no" / "where")]) == 2
    assert main(["evaluate", "cross", str(clip.folder), "-o", str(tmp_path / "out")]) == 2
    assert read_sequence(str(clip.folder)) is not None


def test_the_generator_starts_avatars_as_well(clip: TrackedSequence, tmp_path: Path) -> None:
    checkpoint = save_generator(small_generator(), tmp_path / "small.safetensors")
    outcome = evaluate_self([clip], tmp_path / "out", QUICKLY, start="generator", checkpoint=checkpoint)
    assert "**generator, K = 1**" in (tmp_path / "out" / "table.md").read_text()
    assert np.isfinite(outcome.summary.means["psnr"].mean)
    again = evaluate_self([clip], tmp_path / "out", QUICKLY, start="generator", checkpoint=checkpoint)
    assert again.summary.means["psnr"] == outcome.summary.means["psnr"]
    assert again.contents["timings"]["me"]["draw_ms_per_frame"] is None  # nothing was left to draw


def test_the_users_own_networks_are_scored_with(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra eval is not installed")
    face = np.ascontiguousarray(astronaut()[:256, 96:352])
    targets = pictures(tmp_path / "targets", {"a.png": face, "b.png": face})
    predictions = pictures(tmp_path / "ours", {"a.png": face, "b.png": np.zeros_like(face)})
    network, linear = lpips_weights()
    torch.save(network, tmp_path / "alexnet.pth")
    torch.save(linear, tmp_path / "alex.pth")
    arcface = tmp_path / "tiny.onnx"
    matrix = np.random.default_rng(0).normal(size=(3 * 112 * 112, 8)).astype(np.float32)
    arcface.write_bytes(linear_network(matrix, (3, 112, 112)))
    options = Options(metrics=("lpips", "csim"), lpips=tmp_path, arcface=arcface)
    outcome = evaluate_pictures([FolderPictures(predictions, targets)], tmp_path / "out", options, label="x")
    report = outcome.contents["metrics"]
    assert report["lpips"]["id"].startswith("lpips-alex-0.1-") and report["lpips"]["frames"] == 2
    # The black picture has no face: it is in LPIPS and not in CSIM.
    assert report["csim"]["id"].startswith("csim.tiny-") and report["csim"]["frames"] == 1
    assert report["csim"]["mean"] == pytest.approx(1, abs=1e-5)  # the same picture twice, float32
