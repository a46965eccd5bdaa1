"""Tables 5 to 9: the list of rows is the paper's, rows that are finished stay, and rows that lack something say so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from spatialavatar.cli.main import main
from spatialavatar.errors import UserError
from spatialavatar.evaluate.ablations import runner
from spatialavatar.evaluate.ablations.rows import TABLES, Times, changed
from spatialavatar.evaluate.ablations.runner import RECIPES, Plan, hold_out_frames, of_size, run_table, shortened
from spatialavatar.evaluate.ablations.scoring import RowScores, score_clip
from spatialavatar.evaluate.table import paper_table
from spatialavatar.refine.config import RefineConfig
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.train.config import TrainConfig, phase1, phase2
from spatialavatar.train.recipes import compact_phase2
from tests.synthetic import subject
from tests.train.small import SMALL_TRAINING, painted, surrounded

FIRST = replace(SMALL_TRAINING, steps=2, batch=1)
SECOND = replace(
    FIRST,
    draw=replace(FIRST.draw, phase="multiview"),
    optimiser=replace(FIRST.optimiser, anchor=1e-3, layer_decay=0.65),
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two people before one camera, another before three, and somebody to score on."""
    root = tmp_path_factory.mktemp("sets")
    for name in ("data", "multiview/around", "held_out"):
        (root / name).mkdir(parents=True)
    for seed in (0, 1):
        write_sequence(painted(seed, 9).cameras[0], root / "data" / f"p{seed}.tracked")
    for number, camera in enumerate(surrounded().cameras[:3]):
        write_sequence(camera, root / "multiview" / "around" / f"camera_{number:02d}")
    write_sequence(painted(2, 9).cameras[0], root / "held_out" / "h.tracked")
    return {name: root / name for name in ("data", "multiview", "held_out")}


def plan(sets: dict[str, Path], output: Path, multiview: bool = True) -> Plan:
    return Plan(
        output,
        (sets["data"],),
        (sets["multiview"],) if multiview else (),
        (sets["held_out"],),
        first=FIRST,
        second=SECOND,
        refine=RefineConfig(iterations=6),
        resolution=48,
    )


@pytest.mark.parametrize("number", TABLES)
def test_the_rows_are_the_papers_and_change_something(number: int) -> None:
    table = TABLES[number]
    printed = [name for key in table.printed for name in paper_table(key).rows]
    assert [row.name for row in table.rows] == printed
    for recipe in RECIPES.values():
        first, second = (make() for make in recipe)
        for row in table.rows:
            changed(changed(first, row.both), row.first)
            changed(changed(second, row.both), row.second)
            changed(RefineConfig(), row.refine)
    bases = (phase1(), phase2(), RefineConfig())
    with pytest.raises(KeyError, match="no setting 'speed'"):
        changed(bases[0], {"optimiser.speed": 1})
    assert changed(bases[0], {"optimiser.learning_rate": Times(2.0)}).optimiser.learning_rate == 5e-4


def test_a_schedule_is_squeezed_with_its_steps() -> None:
    short = shortened(phase1(), 1000)
    assert short.steps == 1000 and short.optimiser.schedule.fall_steps == 800
    assert shortened(phase2(), 2000).optimiser.schedule.warm_up_steps == 50
    assert shortened(phase1(), None).steps == phase1().steps


def test_a_size_asked_for_is_drawn_as_it_is_seen() -> None:
    smaller = of_size(compact_phase2(), 96)
    assert smaller.image.size == 96 and smaller.image.oversampling == (1,)
    assert of_size(compact_phase2(), None) == compact_phase2()


def test_table_5_trains_refines_and_is_not_run_twice(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row.name for row in TABLES[5].rows if row.name[0] in "ACD"]
    contents = run_table(5, plan(sets, tmp_path), only=rows, command="test")
    measured = {row["row"][0]: row for row in contents["rows"] if "metrics" in row}
    assert set(measured) == set("ACD")
    assert [measured[name]["ends"] for name in "ACD"] == ["phase 1", "phase 2", "refinement"]
    # Four pictures of one person.
    assert all(row["metrics"]["psnr"]["frames"] == 4 for row in measured.values())
    assert measured["A"]["paper"] == {"psnr": 24.84} and measured["D"]["metrics"]["max_aspect"]["mean"] > 1
    # Told picture by picture, and so by how much rows differ and not by how much people do.
    assert measured["A"]["difference"]["mean"] == 0
    means = {name: row["metrics"]["psnr"]["mean"] for name, row in measured.items()}
    assert measured["C"]["difference"]["mean"] == pytest.approx(means["C"] - means["A"], abs=1e-5)
    # One run of each phase serves all three rows.
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "runs").iterdir()) == ["monocular", "multiview"]
    text = (tmp_path / "table5.md").read_text()
    assert "| A: Phase 1 | 24.84 | " in text and "| 22.73 | not run |" in text and "`test`" in text
    assert Image.open(tmp_path / "table5.png").size[1] == 4 * (160 + 16)
    told = json.loads((tmp_path / "table5.json").read_text())
    assert told == contents and {"machine", "commit"} <= set(told["rows"][0]["made_with"])

    def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing is left to do")

    for name in ("train", "resume", "score_generator", "score_refined"):
        monkeypatch.setattr(runner, name, never)
    assert run_table(5, plan(sets, tmp_path), only=rows, command="later") == contents
    # Another row asked for: those that are there stay in the table.
    with pytest.raises(AssertionError):
        run_table(5, plan(sets, tmp_path), only=[TABLES[5].rows[1].name])


def test_rows_go_on_from_a_phase_1_that_is_there(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that change Phase 1 are trained all the same, and all rows are scored in pictures of one size."""
    given = tmp_path / "given"
    runner.train(FIRST, given, [sets["data"]])
    trained: list[str] = []
    train = runner.train

    def counted(config: TrainConfig, *arguments: object, **options: object) -> Path:
        trained.append(config.draw.phase)
        return train(config, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "train", counted)
    small = plan(sets, tmp_path / "tables")
    small = replace(small, phase1=given, second=replace(SECOND, image=replace(SECOND.image, size=40)))
    names = [row.name for row in TABLES[5].rows if row.name[0] in "AB"]
    contents = run_table(5, small, only=names)
    assert trained == ["multiview"]
    # Row A saw targets of another size than Row B; they are compared all the same.
    assert "difference" in contents["rows"][1]
    rows = sorted((tmp_path / "tables" / "rows").glob("5-*/*.wanted.png"))
    assert {Image.open(path).size for path in rows} == {(40, 40)} and len(rows) == 2
    run_table(7, small, only=[TABLES[7].rows[3].name])
    assert trained == ["multiview", "monocular"]
    # A generator's file will do, too.
    file = Path(shutil.copy(given / "generator.safetensors", tmp_path / "shipped.safetensors"))
    other = run_table(5, replace(small, output=tmp_path / "others", phase1=file), only=names[:1])
    assert other["rows"][0]["metrics"] == contents["rows"][0]["metrics"]
    with pytest.raises(UserError, match="no finished run of Phase 1"):
        run_table(5, replace(small, phase1=tmp_path), only=names)


def test_rows_without_data_or_weights_say_what_they_lack(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = run_table(8, plan(sets, tmp_path, multiview=False))
    assert {row["missing"] for row in contents["rows"]} == {
        "not run: it needs a set with several cameras (--multiview)"
    }

    def train(config: TrainConfig, *arguments: object, **options: object) -> Path:
        if config.generator.encoder != "compact":
            raise UserError("the weights of dinov3-s are not at hand.")
        return really_train(config, *arguments, **options)  # type: ignore[arg-type]

    really_train = runner.train
    monkeypatch.setattr(runner, "train", train)
    contents = run_table(6, plan(sets, tmp_path, multiview=False), only=["K = 1", "K = 2", "DINOv3 S"])
    found = {row["row"]: row for row in contents["rows"]}
    assert found["K = 1"]["ends"] == "phase 1" and found["K = 2"]["sources"] == 2
    assert found["DINOv3 S"]["missing"] == "not run: the weights of dinov3-s are not at hand."
    assert found["K = 3"]["missing"] == "not run"
    with pytest.raises(UserError, match="no row 'K = 9'"):
        run_table(6, plan(sets, tmp_path), only=["K = 9"])
    with pytest.raises(UserError, match="no table 4"):
        run_table(4, plan(sets, tmp_path))
    with pytest.raises(UserError, match="no held-out set"):
        run_table(7, replace(plan(sets, tmp_path), held_out=()))


def test_table_9_refines_with_parts_left_out(sets: dict[str, Path], tmp_path: Path) -> None:
    clips = replace(plan(sets, tmp_path), data=(sets["held_out"] / "h.tracked",))
    contents = run_table(9, clips, only=["all", "no clamp"])
    measured = {row["row"]: row for row in contents["rows"] if "metrics" in row}
    assert set(measured) == {"all", "no clamp"}
    for row in measured.values():
        assert {"psnr", "ssim", "spike", "max_aspect"} <= set(row["metrics"])
        assert row["metrics"]["psnr"]["frames"] == 2  # frames 2 and 6 of nine
    assert "anti_spike.clamp False" in (tmp_path / "table9.md").read_text()
    assert hold_out_frames(100, "tail") == (list(range(80)), list(range(80, 100)))


def test_table_9_scores_what_was_filmed() -> None:
    """Beyond the source's picture, and on its unsure rim, an avatar may differ as it likes."""
    made = subject(3, 96)
    colors = made.avatar.gaussians.colors
    cut = replace(made.sequence, source_boxes=torch.tensor([[30.5, -9.0, 120.0, 120.0]]).expand(3, 4))
    found = RowScores({}, {}, {})
    score_clip(found, "whole", made.avatar, made.sequence, [1])
    score_clip(found, "cut", made.avatar, cut, [1])
    black = replace(made.avatar, gaussians=replace(made.avatar.gaussians, colors=torch.zeros_like(colors)))
    score_clip(found, "black", black, made.sequence, [1])
    assert found.values["psnr"]["black"][0] < 25
    # The frames are pictures of this very avatar, in bytes.
    assert found.values["psnr"]["whole"][0] > 40 and found.values["psnr"]["cut"][0] > 40


def test_the_command(sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(sets["data"]), "--held-out", str(sets["held_out"])]
    assert main(["evaluate", "table", "8", *data, "-o", str(tmp_path / "t")]) == 1
    assert "needs a set with several cameras" in capsys.readouterr().out
    assert main(["evaluate", "table", "7", *data, "-o", str(tmp_path / "t"), "--steps", "0"]) == 2
    assert main(["evaluate", "table", "9", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "t")]) == 2
