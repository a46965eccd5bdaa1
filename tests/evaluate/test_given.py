"""Other people's estimators: their findings are read, compared as the field does it, and named in ids and columns."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spatialavatar.cli.main import main
from spatialavatar.errors import UserError
from spatialavatar.evaluate.given import open_estimator, open_estimators, with_estimators
from spatialavatar.evaluate.motion import Column
from spatialavatar.evaluate.run import Options, evaluate_self
from spatialavatar.evaluate.score import Scores
from spatialavatar.sequence.folder import write_sequence
from tests.synthetic import subject

NAMES = tuple(f"{index:05d}" for index in range(4))


def scores(clip: str = "me") -> Scores:
    return Scores(clip, NAMES, {"psnr": Column("psnr.x", np.ones(4))}, (), None, None, ())


def estimator(folder: Path, **told: str) -> Path:
    for side in ("predictions", "targets"):
        (folder / side).mkdir(parents=True)
    (folder / "estimator.json").write_text(json.dumps({"name": "deep3d", "version": "2020", **told}))
    return folder


def findings(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "expression": random.normal(size=(4, 64)),
        "angles": random.normal(size=(4, 6)),  # the field's poses are rotation and translation
        "keypoints": random.normal(size=(4, 68, 2)) * 20 + 128,
    }


def test_distances_equal_plain_sums_over_what_was_given(tmp_path: Path) -> None:
    folder, ours, theirs = estimator(tmp_path / "e"), findings(0), findings(1)
    ours["expression"][2] = np.nan
    # The order of the frames is the file's own, and it may have more of them.
    order = [3, 1, 0, 2]
    names = np.array([*(NAMES[index] for index in order), "99999"])
    shuffled = {kind: np.concatenate([values[order], values[:1]]) for kind, values in ours.items()}
    np.savez(folder / "predictions" / "me.npz", names=names, **shuffled)
    (folder / "targets" / "me").mkdir()
    for index, name in enumerate(NAMES[:3]):  # the last frame is not there
        np.savez(folder / "targets" / "me" / f"{name}.npz", **{kind: values[index] for kind, values in theirs.items()})
    found = with_estimators(scores(), open_estimators([folder]), 256)
    assert found.columns["aed@deep3d"].id == "aed.mean.deep3d-2020.given"
    for frame in (0, 1):
        away = [abs(a - b) for a, b in zip(ours["expression"][frame], theirs["expression"][frame], strict=True)]
        assert found.columns["aed@deep3d"].values[frame] == pytest.approx(sum(away) / 64)
        assert found.columns["aed_sum@deep3d"].values[frame] == pytest.approx(sum(away))
        turns = [
            min(abs(a - b) % (2 * np.pi), 2 * np.pi - abs(a - b) % (2 * np.pi))
            for a, b in zip(ours["angles"][frame][:3], theirs["angles"][frame][:3], strict=True)
        ]
        assert found.columns["apd@deep3d"].values[frame] == pytest.approx(sum(turns) / 3)
        points = [np.hypot(*(a - b)) for a, b in zip(ours["keypoints"][frame], theirs["keypoints"][frame], strict=True)]
        # Pictures of 256 pixels, measured at 512.
        assert found.columns["akd@deep3d"].values[frame] == pytest.approx(2 * sum(points) / 68)
        assert found.columns["akd_sum@deep3d"].values[frame] == pytest.approx(2 * sum(points))
    assert np.isnan(found.columns["aed@deep3d"].values).tolist() == [False, False, True, True]
    assert np.isnan(found.columns["apd@deep3d"].values).tolist() == [False, False, False, True]
    assert any("no face in 2 frames" in note for note in found.notes) and "psnr" in found.columns
    assert not any(
        name.startswith("akd")
        for name in with_estimators(scores(), open_estimators([folder]), 256, same_view=False).columns
    )


def test_degrees_become_radians(tmp_path: Path) -> None:
    folder = estimator(tmp_path / "e", angles="degrees")
    for side, turn in (("predictions", 190.0), ("targets", -180.0)):
        np.savez(folder / side / "me.npz", names=np.array(NAMES), angles=np.full((4, 3), turn))
    found = with_estimators(scores(), open_estimators([folder]), 512)
    np.testing.assert_allclose(found.columns["apd@deep3d"].values, np.deg2rad(10))
    assert set(found.columns) == {"psnr", "apd@deep3d", "apd_sum@deep3d"}


def test_findings_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = estimator(tmp_path / "e")
    given = open_estimators([folder])
    assert with_estimators(scores(), given, 512).notes == ("deep3d has no predictions and no targets of me.",)
    np.savez(folder / "predictions" / "me.npz", names=np.array(NAMES), expression=np.zeros((4, 64)))
    np.savez(folder / "targets" / "me.npz", names=np.array(NAMES), expression=np.zeros((4, 50)))
    with pytest.raises(UserError, match=r"\(64,\) in predictions and \(50,\) in targets"):
        with_estimators(scores(), given, 512)
    np.savez(folder / "targets" / "me.npz", names=np.array(NAMES), angles=np.zeros((4, 3)))
    with pytest.raises(UserError, match="have no 'expression'"):
        with_estimators(scores(), given, 512)
    np.savez(folder / "targets" / "me.npz", names=np.array(NAMES), expression=np.zeros((3, 64)))
    with pytest.raises(UserError, match="expected 4 rows"):
        with_estimators(scores(), given, 512)
    np.savez(folder / "targets" / "me.npz", expression=np.zeros((4, 64)))
    with pytest.raises(UserError, match="'names' is missing"):
        with_estimators(scores(), given, 512)
    (folder / "targets" / "me.npz").write_bytes(b"PK half")
    with pytest.raises(UserError, match="not a readable npz file"):
        with_estimators(scores(), given, 512)
    np.savez(folder / "targets" / "me.npz", names=np.array(NAMES), expression=np.array([{}] * 4, object))
    with pytest.raises(UserError, match="holds Python objects"):  # nothing is unpickled
        with_estimators(scores(), given, 512)


def test_who_looked_must_be_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        open_estimator(tmp_path / "none")
    (tmp_path / "e").mkdir()
    with pytest.raises(UserError, match=r"no estimator\.json"):
        open_estimator(tmp_path / "e")
    for told in ({"name": "a"}, {"name": "a b", "version": "1"}, [], {"name": "a", "version": "1", "angles": "turns"}):
        (tmp_path / "e" / "estimator.json").write_text(json.dumps(told))
        with pytest.raises(UserError):
            open_estimator(tmp_path / "e")
    (tmp_path / "e" / "estimator.json").write_text(json.dumps({"name": "a", "version": "1"}))
    with pytest.raises(UserError, match="two estimators are called 'a'"):
        open_estimators([tmp_path / "e", tmp_path / "e"])


def test_an_evaluation_shows_them_beside_its_own(tmp_path: Path) -> None:
    clip = write_sequence(subject(4, 64).sequence, tmp_path / "me.tracked")
    options = Options(metrics=("psnr",), write_targets=True)
    evaluate_self([clip], tmp_path / "out", options, resolution=48)
    # The pictures an estimator is to look at, under the same names.
    place = tmp_path / "out" / "clips" / "me"
    assert {p.name for p in (place / "targets").iterdir()} == {p.name for p in (place / "predictions").glob("*.png")}
    folder = estimator(tmp_path / "e")
    for side, value in (("predictions", 1.0), ("targets", 1.25)):
        np.savez(folder / side / "me.npz", names=np.array(clip.names), expression=np.full((4, 8), value))
    given = replace(options, estimators=open_estimators([folder]))
    outcome = evaluate_self([clip], tmp_path / "out", given, resolution=48)
    assert outcome.summary.means["aed@deep3d"].mean == 0.25 and outcome.summary.means["aed_sum@deep3d"].mean == 2
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["estimators"] == [{"name": "deep3d", "version": "2020"}]
    assert report["metrics"]["aed@deep3d"]["id"] == "aed.mean.deep3d-2020.given"
    assert "AED ↓ (deep3d)" in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "frames.csv").read_text().splitlines()[0] == "clip,frame,psnr,aed@deep3d,aed_sum@deep3d"
    command = ["evaluate", "self", str(tmp_path / "me.tracked"), "-o", str(tmp_path / "x")]
    assert main([*command, "--estimates", str(tmp_path / "none")]) == 2
