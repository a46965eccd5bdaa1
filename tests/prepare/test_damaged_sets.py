"""Sets as they arrive: half extracted, with a frame or a camera that is no good, or of two heads. Nothing is guessed:
what cannot be used is named, left out or refused, and counted in the report."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spatialavatar.errors import UserError
from spatialavatar.evaluate.run import Options, evaluate_self, open_clips
from spatialavatar.prepare.importing import import_layout
from spatialavatar.prepare.shards import check_shards, read_shard, write_shards
from spatialavatar.sequence.folder import read_sequence, write_sequence
from spatialavatar.sequence.readers import read_layout
from spatialavatar.sequence.sets import read_set
from tests.sequence.readers.test_layouts import write_nersemble, write_vhap
from tests.sequence.readers.truth import FRAMES, flame_head, truth
from tests.synthetic import subject

CAMERAS = tuple(range(16))


def test_a_frame_missing_in_one_of_sixteen_cameras_is_left_out_of_all(tmp_path: Path) -> None:
    write_vhap(tmp_path / "set", truth(shapes=300, codes=100), CAMERAS)
    (tmp_path / "set" / "images" / "00001_11.png").unlink()
    found = import_layout("auto", tmp_path / "set", tmp_path / "out.tracked", head=flame_head())
    assert len(found.folders) == 16
    sequences = [read_sequence(folder) for folder in found.folders]
    assert {sequence.names for sequence in sequences} == {("00000", "00002")}
    report = json.loads((tmp_path / "out.tracked" / "00" / "report.json").read_text())
    reasons = {item["why"] for item in report["skipped"]}
    assert "its picture is missing" in reasons and "camera 11 lacks it" in reasons


def test_a_camera_that_is_no_number_is_left_out_with_its_frame_or_by_itself(tmp_path: Path) -> None:
    # A pose a frame: the instant goes.
    write_vhap(tmp_path / "vhap", truth(shapes=300, codes=100), (3, 8))
    path = tmp_path / "vhap" / "transforms_train.json"
    contents = json.loads(path.read_text())
    frame = next(f for f in contents["frames"] if f["timestep_index"] == 1 and f["camera_index"] == 3)
    frame["transform_matrix"][0][3] = float("nan")
    path.write_text(json.dumps(contents))
    reading = read_layout("vhap", tmp_path / "vhap", flame_head())
    assert [sequence.names for sequence in reading.sequences] == [("00000", "00002")] * 2
    assert any("not a finite number" in item.why for item in reading.skipped)
    # One calibration for all frames: the camera goes.
    place = write_nersemble(tmp_path / "n", truth(shapes=300, codes=100), {f"{k:02d}": FRAMES for k in CAMERAS})
    path = place.parent.parent / "calibration" / "camera_params.json"
    contents = json.loads(path.read_text())
    contents["world_2_cam"]["05"][1][3] = float("nan")
    path.write_text(json.dumps(contents))
    reading = read_layout("nersemble", place, flame_head())
    assert len(reading.sequences) == 15 and "cam_05" not in reading.names
    assert {item.where: item.why for item in reading.skipped} == {
        "cam_05": "its calibration holds a value that is not a finite number"
    }


def test_our_own_folder_with_a_camera_that_is_no_number_is_refused(tmp_path: Path) -> None:
    made = subject(3, 32, 16).sequence
    write_sequence(made, tmp_path / "good.tracked")
    write_sequence(made, tmp_path / "bad.tracked")
    file = tmp_path / "bad.tracked" / "motion.safetensors"
    tensors = load_file(file)
    tensors["camera_from_world"][1, 0, 3] = torch.nan
    save_file(tensors, file)
    with pytest.raises(UserError, match=r"camera_from_world.*not a finite number \(first at index 1"):
        open_clips([tmp_path / "bad.tracked"], tmp_path / "scores")
    reading = read_layout("tracked", tmp_path)
    assert reading.names == ("good",) and "not a finite number" in reading.skipped[0].why


def test_clips_of_two_heads_do_not_mix(tmp_path: Path) -> None:
    made = subject(3, 32, 16).sequence
    (tmp_path / "set").mkdir()
    write_sequence(made, tmp_path / "set" / "a.tracked")
    write_sequence(replace(made, head_edition="flame-2023-x"), tmp_path / "set" / "b.tracked")
    with pytest.raises(UserError, match="codes of two heads do not mix"):
        import_layout("tracked", tmp_path / "set", tmp_path / "out.tracked")
    assert not (tmp_path / "out.tracked").exists()
    clips = open_clips([tmp_path / "set"], tmp_path / "scores")
    with pytest.raises(UserError, match="tracked with the head flame-2023-x, which is not at hand"):
        evaluate_self(clips, tmp_path / "scores", Options(metrics=("psnr",)), resolution=16)
    # Shards keep what each was tracked with.
    write_shards([tmp_path / "set" / f"{name}.tracked" for name in "ab"], tmp_path / "shards")
    unpacked = read_shard(tmp_path / "shards" / "00000.tar", tmp_path / "back")
    assert [sequence.head_edition for sequence in unpacked] == [made.head_edition, "flame-2023-x"]


def test_a_set_that_is_half_extracted(tmp_path: Path) -> None:
    # Nine of sixteen videos are there, and the ninth only half.
    place = write_nersemble(tmp_path / "n", truth(shapes=300, codes=100), {f"{k:02d}": FRAMES for k in CAMERAS})
    for number in range(9, 16):
        (place / "images" / f"cam_{number:02d}.mp4").unlink()
    half = place / "images" / "cam_08.mp4"
    half.write_bytes(half.read_bytes()[:200])
    reading = read_layout("nersemble", place, flame_head())
    assert reading.names == tuple(f"cam_{number:02d}" for number in range(8))
    assert {item.where for item in reading.skipped} == {f"cam_{number:02d}" for number in range(8, 16)}
    # A set of ours whose second subject has lost a file: named with subject and file when it is asked for.
    made = subject(3, 32, 16).sequence
    for name in ("one", "two"):
        (tmp_path / "ours" / name).mkdir(parents=True)
        write_sequence(made, tmp_path / "ours" / name / "front")
    (tmp_path / "ours" / "two" / "front" / "motion.safetensors").write_bytes(b"\0" * 20)
    subjects = read_set(tmp_path / "ours").subjects
    assert len(subjects[0].cameras[0]) == 3
    with pytest.raises(UserError, match=r"two.front.motion\.safetensors"):
        _ = subjects[1].cameras
    # Half of a shard: what is whole comes out, the rest is named.
    folders = [write_sequence(made, tmp_path / f"{name}.tracked").folder for name in "ab"]
    (shard,) = write_shards([folder for folder in folders if folder is not None], tmp_path / "shards")
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size * 6 // 10])
    with pytest.raises(UserError, match="cut off or damaged after the sample 'b'"):
        read_shard(shard, tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["a.tracked"]
    assert len(check_shards(tmp_path / "shards")) == 1
    picture = np.asarray(read_sequence(tmp_path / "back" / "a.tracked").image(0))
    assert (picture == made.image(0).numpy()).all()
