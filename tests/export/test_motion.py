"""Motion tables: written, and read again by the readers that drive avatars."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.avatar.framing import head_rotation
from spatialavatar.drive.arkit import yaw_pitch_roll
from spatialavatar.drive.load import load_recording
from spatialavatar.drive.recording import ARKIT_NAMES, Recording, median_rest
from spatialavatar.errors import UserError
from spatialavatar.export.motion import SUFFIXES, write_recording
from spatialavatar.head import load_flame, load_open_head
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from tests.avatar.test_other_head import flame_file

FRAMES = 40


@pytest.fixture(scope="module")
def recording() -> Recording:
    """A take of a whole person on the open head, its names in the head's own order."""
    head = load_open_head()
    generator = torch.Generator().manual_seed(2)

    def some(width: int, size: float) -> torch.Tensor:
        return size * torch.randn(FRAMES, width, generator=generator)

    eyes = some(6, 0.2)
    eyes[:, [2, 5]] = 0
    motion = Motion(
        expression=torch.rand(FRAMES, 52, generator=generator),
        global_rotation=some(3, 0.3),
        neck_rotation=some(3, 0.2),
        jaw_rotation=torch.zeros(FRAMES, 3),
        eyes_rotation=eyes,
        translation=some(3, 0.1),
        neck_translation=some(3, 0.01),
    )
    sight = rotation_matrix_from_axis_angle(torch.tensor([0.05, 0.1, 0.0]))
    return Recording(motion, head.expression_names, 25.0, head.edition, median_rest(motion), "take", sight)


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_arkit_tables_carry_expression_head_and_eyes(tmp_path: Path, recording: Recording, suffix: str) -> None:
    write_recording(recording, tmp_path / f"take{suffix}")
    read = load_recording(tmp_path / f"take{suffix}", load_open_head())
    assert len(read) == FRAMES and read.frame_rate == recording.frame_rate and read.head_edition is None
    for index, name in enumerate(ARKIT_NAMES):
        truth = recording.motion.expression[:, recording.expression_names.index(name)]
        # Eight digits in the table.
        torch.testing.assert_close(read.motion.expression[:, index], truth, atol=1e-6, rtol=0)
    # Angles there and back in float32.
    truth = recording.sight.mT @ head_rotation(recording.motion)
    torch.testing.assert_close(head_rotation(read.motion), truth, atol=2e-5, rtol=0)
    for part in (slice(0, 3), slice(3, 6)):
        ours = rotation_matrix_from_axis_angle(recording.motion.eyes_rotation[:, part])
        theirs = rotation_matrix_from_axis_angle(read.motion.eyes_rotation[:, part])
        # Tables have no roll of the eyes that the reader would use: it keeps where they look.
        torch.testing.assert_close(theirs[..., 2], ours[..., 2], atol=2e-5, rtol=0)


@pytest.mark.parametrize("suffix", [".flame.npz", ".motion.safetensors"])
def test_nothing_is_lost_where_the_format_carries_it_all(tmp_path: Path, recording: Recording, suffix: str) -> None:
    write_recording(recording, tmp_path / f"take{suffix}")
    read = load_recording(tmp_path / f"take{suffix}", load_open_head())
    assert (read.expression_names, read.head_edition) == (recording.expression_names, recording.head_edition)
    assert read.frame_rate == recording.frame_rate
    torch.testing.assert_close(read.sight, recording.sight, atol=0, rtol=0)
    for name in ("expression", "global_rotation", "eyes_rotation", "translation", "neck_translation"):
        torch.testing.assert_close(getattr(read.motion, name), getattr(recording.motion, name), atol=0, rtol=0)
    torch.testing.assert_close(read.rest.neck_rotation, recording.rest.neck_rotation, atol=0, rtol=0)


def test_a_trackers_file_belongs_to_the_avatars_head(tmp_path: Path) -> None:
    head = load_flame(flame_file(tmp_path / "flame.npz"), teeth=False)
    arrays = {"expr": np.ones((5, 50)), "jaw_pose": np.full((5, 3), 0.1), "shape": np.zeros(300)}
    arrays |= {"rotation": np.zeros((5, 3)), "translation": np.full((5, 3), 0.2)}
    np.savez(tmp_path / "flame_param.npz", **arrays)
    read = load_recording(tmp_path / "flame_param.npz", head)
    assert read.head_edition == head.edition and read.motion.expression.shape == (5, 100)
    assert float(read.motion.expression.sum()) == 250, "missing components are zero"
    assert float(read.motion.jaw_rotation[0, 0]) == pytest.approx(0.1)
    with pytest.raises(UserError, match="numbered expressions of a FLAME head"):
        load_recording(tmp_path / "flame_param.npz", load_open_head())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expr": np.ones((5, 101))}, "has 101 expressions"),
        ({"jaw_pose": np.zeros((4, 3))}, r"'jaw_pose' has the shape \(4, 3\)"),
        ({"rotation": np.full((5, 3), np.nan)}, "'rotation' holds values that are NaN"),
        ({"frame_rate": np.array(-1.0)}, "'frame_rate'"),
        ({"expression_names": np.array(["a"])}, "50 columns and 'expression_names' 1"),
    ],
)
def test_a_bad_file_is_one_message(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    head = load_flame(flame_file(tmp_path / "flame.npz"), teeth=False)
    np.savez(tmp_path / "bad.npz", **{"expr": np.ones((5, 50)), **change})
    with pytest.raises(UserError, match=message):
        load_recording(tmp_path / "bad.npz", head)


def test_numbered_expressions_are_no_arkit_table(tmp_path: Path, recording: Recording) -> None:
    numbered = replace(recording, expression_names=tuple(f"expression_{k:03d}" for k in range(52)))
    with pytest.raises(UserError, match="none of them is one of ARKit's"):
        write_recording(numbered, tmp_path / "take.csv")
    with pytest.raises(UserError, match=SUFFIXES[0]):
        write_recording(numbered, tmp_path / "take.bvh")


def test_angles_of_a_turn() -> None:
    angles = torch.tensor([[0.3, -0.2, 0.1], [-1.2, 0.9, -0.6]])
    zero = torch.zeros(2)
    turn = rotation_matrix_from_axis_angle(torch.stack([zero, angles[:, 0], zero], -1))
    nod = rotation_matrix_from_axis_angle(torch.stack([angles[:, 1], zero, zero], -1))
    lean = rotation_matrix_from_axis_angle(torch.stack([zero, zero, angles[:, 2]], -1))
    torch.testing.assert_close(yaw_pitch_roll(turn @ nod @ lean), angles, atol=1e-6, rtol=0)


HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
    "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
    "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,"
    "MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,"
    "MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,"
    "BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)
"""As in the takes of the app; two of them are in public at alexdjulin/LiveLinkFace-CSV-Retarget-For-Motionbuilder."""


def jaw_to_the_left() -> Recording:
    motion = Motion.neutral(3, len(ARKIT_NAMES))
    motion.expression[:, ARKIT_NAMES.index("jawLeft")] = torch.tensor([0.0, 0.4, 0.8])
    motion.expression[:, ARKIT_NAMES.index("mouthRight")] = torch.tensor([0.1, 0.2, 0.3])
    return Recording(motion, ARKIT_NAMES, 30.0, None, Motion.neutral(1, len(ARKIT_NAMES)), "jaw")


def test_a_table_is_the_apps_byte_for_byte(tmp_path: Path) -> None:
    write_recording(jaw_to_the_left(), tmp_path / "take.csv")
    header, *rows = (tmp_path / "take.csv").read_bytes().decode("ascii").split("\n")
    assert header == HEADER and rows[-1] == ""
    titles = header.split(",")
    for index, row in enumerate(rows[:-1]):
        cells = dict(zip(titles, row.split(","), strict=True))
        values = {title: cell for title, cell in cells.items() if cell not in ("0.0000000000", "61")}
        expected = {
            "Timecode": f"00:00:00:{2 * index:02d}.000",
            "JawLeft": f"{np.float32(0.4 * index):.10f}",
            "MouthRight": f"{np.float32(0.1 * (index + 1)):.10f}",
        }
        assert values == {title: cell for title, cell in expected.items() if cell != "0.0000000000"}
    with pytest.warns(UserWarning, match="their clock counts; 60 were assumed"):
        read = load_recording(tmp_path / "take.csv", load_open_head())
    # Ten decimals of numbers that float32 holds to seven digits.
    torch.testing.assert_close(read.motion.expression, jaw_to_the_left().motion.expression, atol=0, rtol=0)


@pytest.mark.parametrize("rate", [10, 12, 15, 24_000 / 1001, 24, 25, 30_000 / 1001, 30, 48, 50, 60_000 / 1001, 60, 120])
@pytest.mark.parametrize("suffix", [".csv", ".npz", ".flame.npz", ".motion.safetensors"])
def test_rate_and_length_come_back(tmp_path: Path, rate: float, suffix: str) -> None:
    frames = round(2.4 * rate)
    motion = Motion.neutral(frames, len(ARKIT_NAMES))
    motion.expression[:, ARKIT_NAMES.index("jawOpen")] = torch.linspace(0, 1, frames)
    take = Recording(motion, ARKIT_NAMES, rate, None, Motion.neutral(1, len(ARKIT_NAMES)), "take")
    assert write_recording(take, tmp_path / f"take{suffix}") == ()
    notes: list[str] = []
    read = load_recording(tmp_path / f"take{suffix}", load_open_head(), warn=notes.append)
    assert read.frame_rate == pytest.approx(rate, rel=1e-12) and len(read) == frames and notes == []
    torch.testing.assert_close(read.motion.expression, motion.expression, atol=0, rtol=0)


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_what_a_table_cannot_hold_is_said(tmp_path: Path, suffix: str) -> None:
    take = jaw_to_the_left()
    take.motion.expression[0, :2] = torch.tensor([1.2, -0.3])
    assert write_recording(take, tmp_path / f"take{suffix}") == (
        "2 of its 156 weights lie outside 0 to 1 and were clamped.",
    )


@pytest.mark.parametrize("suffix", [".flame.npz", ".motion.safetensors"])
def test_degrees_in_files_of_rotations_are_converted_and_said(tmp_path: Path, suffix: str) -> None:
    take = jaw_to_the_left()
    take.motion.neck_rotation[1, 1] = 30.0
    write_recording(take, tmp_path / f"take{suffix}")
    notes: list[str] = []
    read = load_recording(tmp_path / f"take{suffix}", load_open_head(), warn=notes.append)
    assert float(read.motion.neck_rotation[1, 1]) == pytest.approx(np.deg2rad(30)) and "as degrees" in notes[0]
    take.motion.neck_rotation[1, 1] = 1000.0
    write_recording(take, tmp_path / f"take{suffix}")
    with pytest.raises(UserError, match="neck_rotation holds a rotation by 1000"):
        load_recording(tmp_path / f"take{suffix}", load_open_head())
