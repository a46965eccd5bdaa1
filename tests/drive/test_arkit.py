"""ARKit tables: Live Link Face's CSV and the npz of the same."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.drive.arkit import LARGEST_YAW, gaze_of_weights, read_arkit_csv, read_arkit_npz
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.errors import UserError
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle

TITLES = [name[0].upper() + name[1:] for name in ARKIT_NAMES]
ANGLES = ["HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll"]
ANGLES += ["RightEyeYaw", "RightEyePitch", "RightEyeRoll"]


def live_link_table(path: Path, rows: list[dict[str, float | str]], delimiter: str = ",") -> Path:
    """A file as the app writes it: 61 values a row, timecode and count before them."""
    lines = [delimiter.join(["Timecode", "BlendShapeCount", *TITLES, *ANGLES])]
    for index, row in enumerate(rows):
        cells = [f"10:20:{index // 60:02d}:{index % 60:02d}.{index:03d}", "61"]
        cells += [str(row.get(title, 0.0)) for title in [*TITLES, *ANGLES]]
        lines.append(delimiter.join(cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def weight(recording: Recording, name: str) -> torch.Tensor:
    return recording.motion.expression[:, recording.expression_names.index(name)]


def test_the_open_head_has_exactly_these_names() -> None:
    assert set(load_open_head().expression_names) == set(ARKIT_NAMES) and len(ARKIT_NAMES) == 52


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_weights_and_angles_are_read(tmp_path: Path, delimiter: str) -> None:
    rows: list[dict[str, float | str]] = [
        {"JawOpen": 0.5, "TongueOut": 1.0},
        {"HeadYaw": 0.3, "LeftEyeYaw": 0.1, "RightEyePitch": 0.2},
    ]
    recording = read_arkit_csv(live_link_table(tmp_path / "take.csv", rows, delimiter))
    assert len(recording) == 2 and recording.head_edition is None and recording.source == "take.csv"
    torch.testing.assert_close(weight(recording, "jawOpen"), torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(weight(recording, "tongueOut"), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(recording.motion.neck_rotation[1], torch.tensor([0.0, 0.3, 0.0]))
    torch.testing.assert_close(recording.motion.eyes_rotation[1], torch.tensor([0.0, 0.1, 0.0, 0.2, 0.0, 0.0]))


def test_the_directions_of_the_angles(tmp_path: Path) -> None:
    rows: list[dict[str, float | str]] = [{"HeadYaw": 0.3}, {"HeadPitch": 0.3}, {"HeadRoll": 0.3}]
    motion = read_arkit_csv(live_link_table(tmp_path / "take.csv", rows)).motion
    turned = rotation_matrix_from_axis_angle(motion.neck_rotation)
    nose, crown = turned[:, :, 2], turned[:, :, 1]
    assert float(nose[0, 0]) > 0.2, "yaw turns the nose to the subject's left, +x"
    assert float(nose[1, 1]) < -0.2, "pitch lowers the nose"
    assert float(crown[2, 0]) < -0.2, "roll leans the crown to the subject's right"


def test_missing_columns_other_columns_and_any_order(tmp_path: Path) -> None:
    path = tmp_path / "take.csv"
    path.write_text("smile,mouthSmileLeft,jawopen,comment\n1,0.2,0.4,hello\n\n2,0.3,0.6,\n")
    recording = read_arkit_csv(path)
    torch.testing.assert_close(weight(recording, "jawOpen"), torch.tensor([0.4, 0.6]))
    torch.testing.assert_close(weight(recording, "mouthSmileLeft"), torch.tensor([0.2, 0.3]))
    assert float(recording.motion.neck_rotation.abs().max()) == 0 and recording.frame_rate == 30.0


def test_a_lost_face_holds_the_frame_before(tmp_path: Path) -> None:
    path = live_link_table(tmp_path / "take.csv", [{"JawOpen": 0.5}, {}])
    lost = f"10:20:00:02.000,0{',' * len([*TITLES, *ANGLES])}"
    path.write_text(path.read_text().replace("\n10:20:00:01", f"\n{lost}\n10:20:00:01"))
    torch.testing.assert_close(weight(read_arkit_csv(path), "jawOpen"), torch.tensor([0.5, 0.5, 0.0]))


def test_the_frame_rate_comes_from_the_timecodes(tmp_path: Path) -> None:
    assert read_arkit_csv(live_link_table(tmp_path / "take.csv", [{}] * 70)).frame_rate == 60.0
    assert read_arkit_csv(tmp_path / "take.csv", frame_rate=24.0).frame_rate == 24.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("jawOpen\n", "no rows"),
        ("a,b\n1,2\n", "no column has the name of an ARKit blendshape"),
        ("jawOpen\n0.5\nwide\n", "row 3, column jawOpen: 'wide' is not a number"),
        ("jawOpen\nnan\n", "row 2, column jawOpen: 'nan' is not a number"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "take.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_arkit_csv(path)


def test_a_binary_file_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "take.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UserError, match="not a readable text file"):
        read_arkit_csv(tmp_path / "take.csv")


def test_npz_and_csv_agree(tmp_path: Path) -> None:
    table = read_arkit_csv(
        live_link_table(tmp_path / "take.csv", [{"JawOpen": 0.5, "HeadYaw": 0.2, "HeadPitch": 0.1, "LeftEyeYaw": 0.1}])
    )
    weights = np.zeros((1, 52), np.float32)
    weights[0, ARKIT_NAMES.index("jawOpen")] = 0.5
    angles = {"head_angles": np.array([[0.2, 0.1, 0.0]]), "eye_angles": np.array([[0.1, 0, 0, 0]])}
    np.savez(tmp_path / "take.npz", weights=weights, frame_rate=60, **angles)
    recording = read_arkit_npz(tmp_path / "take.npz")
    torch.testing.assert_close(recording.motion.expression, table.motion.expression)
    torch.testing.assert_close(recording.motion.neck_rotation, table.motion.neck_rotation)
    torch.testing.assert_close(recording.motion.eyes_rotation, table.motion.eyes_rotation)
    assert recording.frame_rate == 60.0


def test_npz_with_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "take.npz", weights=np.array([[0.1, 0.9]]), names=["jawOpen", "cheekPuff"])
    recording = read_arkit_npz(tmp_path / "take.npz")
    torch.testing.assert_close(weight(recording, "cheekPuff"), torch.tensor([0.9]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.zeros(3)}, "key 'weights' is missing"),
        ({"weights": np.zeros((2, 51))}, r"'weights' is float64 \(2, 51\); expected numbers \(frames, 52\)"),
        ({"weights": np.full((2, 52), np.nan)}, "'weights' holds values that are NaN"),
        ({"weights": np.zeros((2, 52)), "head_angles": np.zeros((3, 3))}, "'head_angles' has 3 frames and 'weights' 2"),
        ({"weights": np.array([[object()] * 52])}, "plain arrays"),
    ],
)
def test_bad_npz(tmp_path: Path, content: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "take.npz", **content, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        read_arkit_npz(tmp_path / "take.npz")


def test_gaze_follows_the_look_shapes() -> None:
    one = torch.ones(1)
    left = gaze_of_weights({"eyeLookOutLeft": one, "eyeLookInRight": one})
    assert float(left[0, 1]) == pytest.approx(LARGEST_YAW, abs=1e-6) == float(left[0, 4])
    down = gaze_of_weights({"eyeLookDownLeft": one, "eyeLookDownRight": one})
    assert float(down[0, 0]) > math.radians(20) and float(down[0, 3]) > math.radians(20)
