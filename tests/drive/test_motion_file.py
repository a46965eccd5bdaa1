"""The motion file: exact round trips, and one clear message for everything that can be wrong with it."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spatialavatar.drive.motion_file import read_motion, write_motion
from spatialavatar.drive.recording import Recording
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion


def random_motion(frames: int, expressions: int = 5) -> Motion:
    neutral = Motion.neutral(frames, expressions)
    return Motion(**{field.name: torch.randn_like(getattr(neutral, field.name)) for field in fields(Motion)})


def recording(frames: int = 4) -> Recording:
    return Recording(random_motion(frames), tuple("abcde"), 24.0, "flame-2023", random_motion(1), "take 1")


def test_round_trip_is_exact(tmp_path: Path) -> None:
    written = recording()
    loaded = read_motion(write_motion(written, tmp_path / "take.motion.safetensors"))
    for field in fields(Motion):
        assert torch.equal(getattr(loaded.motion, field.name), getattr(written.motion, field.name)), field.name
        assert torch.equal(getattr(loaded.rest, field.name), getattr(written.rest, field.name)), field.name
    assert (loaded.expression_names, loaded.frame_rate, loaded.head_edition, loaded.source) == (
        written.expression_names,
        24.0,
        "flame-2023",
        "take 1",
    )


def written_by_hand(path: Path, tensors: dict[str, torch.Tensor], header: str, version: str = "1") -> Path:
    save_file(tensors, str(path), {"format": "spatialavatar-motion", "version": version, "header": header})
    return path


def test_other_programs_need_write_only_the_expression(tmp_path: Path) -> None:
    path = tmp_path / "take.motion.safetensors"
    header = '{"frame_rate": 30, "expression_names": ["jawOpen"]}'
    loaded = read_motion(written_by_hand(path, {"expression": torch.ones(3, 1)}, header))
    assert len(loaded) == 3 and loaded.head_edition is None and loaded.source == path.name
    assert float(loaded.motion.neck_rotation.abs().max()) == 0


@pytest.mark.parametrize(
    ("tensors", "header", "message"),
    [
        (
            {"expression": torch.zeros(3, 2)},
            '{"frame_rate": 30, "expression_names": ["a"]}',
            r"\(3, 2\); expected \(3, 1\)",
        ),
        ({"expression": torch.zeros(3, 1)}, '{"frame_rate": 0, "expression_names": ["a"]}', "'frame_rate' is 0"),
        ({"expression": torch.zeros(3, 1)}, '{"frame_rate": 30}', "'expression_names' must be a list of names"),
        ({"expression": torch.zeros(3, 1)}, "{", "header of this file cannot be read"),
        ({"expression": torch.zeros(0, 1)}, '{"frame_rate": 30, "expression_names": ["a"]}', "no frames"),
        (
            {"jaw_rotation": torch.zeros(3, 3)},
            '{"frame_rate": 30, "expression_names": ["a"]}',
            "'expression' is missing",
        ),
        (
            {"expression": torch.zeros(3, 1), "jaw_rotation": torch.zeros(2, 3)},
            '{"frame_rate": 30, "expression_names": ["a"]}',
            r"'jaw_rotation' has shape \(2, 3\); expected \(3, 3\)",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, tensors: dict[str, torch.Tensor], header: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_motion(written_by_hand(tmp_path / "take.motion.safetensors", tensors, header))


def test_a_newer_version_says_update(tmp_path: Path) -> None:
    path = written_by_hand(tmp_path / "a.motion.safetensors", {"expression": torch.zeros(1, 1)}, "{}", version="2")
    with pytest.raises(UserError, match="newer version"):
        read_motion(path)


def test_the_tables_of_a_tracked_folder_point_to_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "motion.safetensors"
    save_file({"camera_from_world": torch.zeros(1, 4, 4), "intrinsics": torch.zeros(1, 3, 3)}, str(path))
    with pytest.raises(UserError) as raised:
        read_motion(path)
    assert "give the folder itself" in str(raised.value.hint)


@pytest.mark.parametrize("rate", ["NaN", "Infinity", "1e999", "-30", "true", '"30"', "null", "1" + "0" * 400, "[30]"])
def test_impossible_frame_rates(tmp_path: Path, rate: str) -> None:
    header = f'{{"frame_rate": {rate}, "expression_names": ["jawOpen"]}}'
    path = written_by_hand(tmp_path / "take.motion.safetensors", {"expression": torch.ones(3, 1)}, header)
    with pytest.raises(UserError, match=r"key 'frame_rate'|is not a finite number|is too large a number"):
        read_motion(path)


def test_another_programs_percent(tmp_path: Path) -> None:
    header = '{"frame_rate": 30, "expression_names": ["jawOpen"]}'
    path = tmp_path / "take.motion.safetensors"
    loaded = read_motion(written_by_hand(path, {"expression": 80 * torch.ones(3, 1)}, header), frame_rate=24.0)
    assert float(loaded.motion.expression[0, 0]) == pytest.approx(0.8) and loaded.frame_rate == 24.0
    assert "as percent" in loaded.notes[0] and "the 24 frames/s given" in loaded.notes[1]
