"""ARKit tables as text: Live Link Face's CSV, and those of other programs."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.drive.arkit_table import read_arkit_table
from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.errors import UserError
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from tests.drive.sources import live_link_table, stamped_table, weight


def test_the_open_head_has_exactly_these_names() -> None:
    assert set(load_open_head().expression_names) == set(ARKIT_NAMES) and len(ARKIT_NAMES) == 52


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_weights_and_angles_are_read(tmp_path: Path, delimiter: str) -> None:
    rows: list[dict[str, float | str]] = [
        {"JawOpen": 0.5, "TongueOut": 1.0},
        {"HeadYaw": 0.3, "LeftEyeYaw": 0.1, "RightEyePitch": 0.2},
    ]
    recording = read_arkit_table(live_link_table(tmp_path / "take.csv", rows, delimiter))
    assert len(recording) == 2 and recording.head_edition is None and recording.source == "take.csv"
    torch.testing.assert_close(weight(recording, "jawOpen"), torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(weight(recording, "tongueOut"), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(recording.motion.neck_rotation[1], torch.tensor([0.0, 0.3, 0.0]))
    torch.testing.assert_close(recording.motion.eyes_rotation[1], torch.tensor([0.0, 0.1, 0.0, 0.2, 0.0, 0.0]))


def test_the_directions_of_the_angles(tmp_path: Path) -> None:
    rows: list[dict[str, float | str]] = [{"HeadYaw": 0.3}, {"HeadPitch": 0.3}, {"HeadRoll": 0.3}]
    motion = read_arkit_table(live_link_table(tmp_path / "take.csv", rows)).motion
    turned = rotation_matrix_from_axis_angle(motion.neck_rotation)
    nose, crown = turned[:, :, 2], turned[:, :, 1]
    assert float(nose[0, 0]) > 0.2, "yaw turns the nose to the subject's left, +x"
    assert float(nose[1, 1]) < -0.2, "pitch lowers the nose"
    assert float(crown[2, 0]) < -0.2, "roll leans the crown to the subject's right"


def test_missing_columns_other_columns_and_any_order(tmp_path: Path) -> None:
    path = tmp_path / "take.csv"
    path.write_text("smile,mouthSmileLeft,jawopen,comment\n1,0.2,0.4,hello\n\n2,0.3,0.6,\n")
    recording = read_arkit_table(path)
    torch.testing.assert_close(weight(recording, "jawOpen"), torch.tensor([0.4, 0.6]))
    torch.testing.assert_close(weight(recording, "mouthSmileLeft"), torch.tensor([0.2, 0.3]))
    assert float(recording.motion.neck_rotation.abs().max()) == 0 and recording.frame_rate == 30.0


def test_a_lost_face_holds_the_frame_before(tmp_path: Path) -> None:
    path = live_link_table(tmp_path / "take.csv", [{"JawOpen": 0.5}, {}])
    for lost in (f"10:20:00:00.500,0{',' * 61}", "10:20:00:00.500,0", f"10:20:00:00.500,0{',0.0' * 61}"):
        path.write_text(path.read_text().replace("\n10:20:00:01", f"\n{lost}\n10:20:00:01"))
        recording = read_arkit_table(path)
        torch.testing.assert_close(weight(recording, "jawOpen"), torch.tensor([0.5, 0.5, 0.0]))
        assert "1 of its 3 rows have no values" in recording.notes[0]
        live_link_table(path, [{"JawOpen": 0.5}, {}])


def test_the_frame_rate_comes_from_the_timecodes(tmp_path: Path) -> None:
    recording = read_arkit_table(live_link_table(tmp_path / "take.csv", [{}] * 70))
    assert recording.frame_rate == 60.0 and recording.notes == ()
    assert read_arkit_table(tmp_path / "take.csv", frame_rate=24.0).frame_rate == 24.0


def test_missing_rows_of_a_table_are_filled(tmp_path: Path) -> None:
    times = [index / 60 for index in range(90)] + [1.5 + index / 30 for index in range(46)]
    stamps = [f"13:13:{4 + int(time):02d}:{round(time % 1 * 60):02d}.000" for time in times]
    turns = [0.4 * math.sin(time) for time in times]
    path = stamped_table(tmp_path / "take.csv", stamps, [time / 3 for time in times], others={"HeadYaw": turns})
    recording = read_arkit_table(path)
    assert len(recording) == 181 and recording.frame_rate == 60.0 and "45 gaps" in recording.notes[0]
    expected = torch.arange(181) / 60
    # Six decimals in the table; between rows 1/30 s apart a sine of this size bends by 6e-5.
    torch.testing.assert_close(weight(recording, "jawOpen"), expected / 3, atol=2e-6, rtol=0)
    torch.testing.assert_close(recording.motion.neck_rotation[:, 1], 0.4 * torch.sin(expected), atol=1e-4, rtol=0)


def test_percent_and_degrees_are_converted_and_said(tmp_path: Path) -> None:
    stamps = [f"00:00:{index // 30:02d}:{index % 30:02d}.000" for index in range(60)]
    swing = np.sin(np.linspace(0, 9, 60))
    others = {"HeadYaw": 30 * swing, "MouthSmileLeft": 50 + 20 * swing}
    recording = read_arkit_table(stamped_table(tmp_path / "take.csv", stamps, 50 + 50 * swing, others=others))
    assert [note.rpartition("were taken as ")[2] for note in recording.notes] == ["percent.", "degrees."]
    torch.testing.assert_close(weight(recording, "jawOpen"), torch.tensor(0.5 + 0.5 * swing).float(), atol=1e-6, rtol=0)
    turns = torch.tensor(np.deg2rad(30 * swing)).float()
    torch.testing.assert_close(recording.motion.neck_rotation[:, 1], turns, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "titles",
    [
        "jawOpen,EYEBLINKLEFT,mouth_smile_right",
        "Jaw Open,eyeBlink_L,mouthSmile_R",
        "blendShapes.JawOpen,blendShapes.EyeBlinkLeft,blendShapes.MouthSmileRight",
        "jaw-open,eye blink left,Mouth Smile R",
    ],
)
def test_spellings_of_names(tmp_path: Path, titles: str) -> None:
    (tmp_path / "take.csv").write_text(f"{titles}\n0.1,0.2,0.3\n")
    recording = read_arkit_table(tmp_path / "take.csv")
    read = [float(weight(recording, name)) for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileRight")]
    assert read == pytest.approx([0.1, 0.2, 0.3])


def test_angles_about_axes(tmp_path: Path) -> None:
    (tmp_path / "take.csv").write_text("jawOpen,headRotationX,head_rot_y,leftEyeRotX\n12,-20,10,5\n13,-20,10,5\n")
    recording = read_arkit_table(tmp_path / "take.csv")
    degrees = torch.rad2deg(recording.motion.neck_rotation[0])
    # A turn by 10 and a nod by 20 degrees as one axis: equal to first order.
    torch.testing.assert_close(degrees, torch.tensor([-20.0, 10.0, 0.0]), atol=2.0, rtol=0)


@pytest.mark.parametrize(
    ("titles", "message"),
    [
        ("CTRL_expressions_jawOpen,CTRL_expressions_eyeBlinkL", "controls of a MetaHuman's rig"),
        ("AU01_r,AU12_r", "action units"),
        ("jawDrop,eyesLookLeft", "Audio2Face's own 46 poses"),
        ("Fcl_MTH_A,Fcl_EYE_Close", "VRoid or VRM"),
        ("viseme_aa,viseme_E", "visemes"),
        ("JawOpen,jaw_open", "the columns 'JawOpen' and 'jaw_open' both mean jawOpen"),
        ("mouthSmileLeft,mouthSmile_L", "both mean mouthSmileLeft"),
    ],
)
def test_names_that_are_not_arkits(tmp_path: Path, titles: str, message: str) -> None:
    (tmp_path / "take.csv").write_text(f"{titles}\n0.1,0.2\n")
    with pytest.raises(UserError, match=message):
        read_arkit_table(tmp_path / "take.csv")


def test_encodings_and_decimal_commas_of_spreadsheets(tmp_path: Path) -> None:
    path = tmp_path / "take.csv"
    text = "timestamp;jawOpen;Grüße\n0,0;0,25;a\n0,04;0,5;b\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        path.write_bytes(text.encode(encoding))
        recording = read_arkit_table(path)
        assert weight(recording, "jawOpen").tolist() == [0.25, 0.5] and recording.frame_rate == 25.0
        assert recording.notes == ()
    path.write_bytes(text.encode("latin-1"))
    assert read_arkit_table(path).notes == ("it is not UTF-8; it was read as Latin-1.",)
    path.write_bytes(b"sep=|\r\njawOpen|jawLeft\r\n0.5|0.25\r\n")
    assert weight(read_arkit_table(path), "jawLeft").tolist() == [0.25]


def test_a_cut_last_row_is_left_out_and_said(tmp_path: Path) -> None:
    path = live_link_table(tmp_path / "take.csv", [{"JawOpen": 0.5}] * 70)
    content = path.read_bytes()
    start = content[:-1].rfind(b"\n") + 1
    for length in (start + 8, start + 15, start + 18, start + 40, len(content) - 30):
        path.write_bytes(content[:length])
        recording = read_arkit_table(path)
        assert len(recording) == 69 and recording.notes == ("its last row (row 71) is cut short and was left out.",)


def test_a_row_of_a_time_stamp_alone_is_a_lost_face(tmp_path: Path) -> None:
    (tmp_path / "take.csv").write_text("time,jawOpen\n0.00,0.5\n0.04\n0.08,0.25\n0.1")
    recording = read_arkit_table(tmp_path / "take.csv")
    assert weight(recording, "jawOpen").tolist() == [0.5, 0.5, 0.25] and recording.frame_rate == 25.0
    assert "row 5) is cut short" in recording.notes[0] and "1 of its 3 rows have no values" in recording.notes[1]


def test_a_cut_row_within_is_refused(tmp_path: Path) -> None:
    path = live_link_table(tmp_path / "take.csv", [{"JawOpen": 0.5}] * 5)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:100], *lines[4:]]))
    with pytest.raises(UserError, match="row 4 is cut short: it has 23 cells and the header 63 names"):
        read_arkit_table(path)
    path.write_text("jawOpen,jawLeft\n0,5,0,25\n")
    with pytest.raises(UserError, match="row 2 has 4 cells and the header 2 names"):
        read_arkit_table(path)


def test_an_empty_cell_keeps_the_value_before(tmp_path: Path) -> None:
    (tmp_path / "take.csv").write_text("jawOpen,jawLeft\n0.5,0.25\n,0.5\n0.75,\n")
    recording = read_arkit_table(tmp_path / "take.csv")
    assert weight(recording, "jawOpen").tolist() == [0.5, 0.5, 0.75]
    assert "2 of its cells are empty" in recording.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("jawOpen\n", "no rows"),
        ("a,b\n1,2\n", "no column has the name of an ARKit blendshape"),
        ("jawOpen\n0.5\nwide\n", "row 3, column jawOpen: 'wide' is not a number"),
        ("jawOpen\nnan\n", "row 2, column jawOpen: 'nan' is not a number"),
        ("jawOpen\n0.5\n\n1e39\n", "row 4, column jawOpen: '1e39' is too large"),
        ("jawOpen\n1_0\n", "'1_0' is not a number"),
        ("jawOpen\n\x1b[31m\n", r"'\\x1b\[31m' is not a number"),
        ("jawOpen,time\n,0\n,1\n", "no rows of values"),
        ("jawOpen\n0.1\n" + "9" * 200_000 + "\n", "cannot be read as a table"),
        ("jawOpen," + "," * 10_000 + "\n1\n", "10,002 columns; up to 10,000"),
        ("jawOpen,jawLeft\n0.5\n0.5,0.5\n", "row 2 is cut short"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "take.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_arkit_table(path)


def test_a_binary_file_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "take.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UserError, match="not a readable text file"):
        read_arkit_table(tmp_path / "take.csv")
