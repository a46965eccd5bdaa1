"""Audio2Face's export and iFacialMocap's lines; and every reader on damaged files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spatialavatar.drive.audio2face import read_audio2face
from spatialavatar.drive.ifacialmocap import recording_of_ifacialmocap
from spatialavatar.drive.load import load_recording
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.errors import UserError
from spatialavatar.head.open_head import load_open_head
from tests.drive.mutations import read_all
from tests.drive.sources import FRAMES, SOURCES, ifacialmocap_line, weight, write_audio2face


def load(path: Path) -> tuple[Recording, list[str]]:
    notes: list[str] = []
    return load_recording(path, load_open_head(), warn=notes.append), notes


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_is_known_by_its_content(tmp_path: Path, kind: str) -> None:
    name, write = SOURCES[kind]
    write(tmp_path / name)
    recording, notes = load(tmp_path / name)
    assert recording.source == ("sound" if kind == "motion_file" else name)
    if kind == "gaps":
        assert recording.frame_rate == pytest.approx(1000 / 33) and len(recording) == 2627 // 33 + 2
        assert "have 1 gap" in notes[0] and "holds still" in notes[1]
    else:
        assert len(recording) == FRAMES and recording.frame_rate == (60.0 if kind == "audio2face" else 30.0)


# A minute of the same is 20,000 of each kind.
@pytest.mark.parametrize("kind", SOURCES)
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    name, write = SOURCES[kind]
    write(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    taken, refused = read_all(lambda path: load(path)[0], tmp_path / name, content, 60, seed=3)
    assert taken > 0 and refused > 0


def test_audio2face_json(tmp_path: Path) -> None:
    write_audio2face(tmp_path / "a2f.json")
    recording = read_audio2face(tmp_path / "a2f.json")
    weights = np.random.default_rng(0).random((FRAMES, 52)).round(5)
    np.testing.assert_allclose(recording.motion.expression, weights, atol=1e-7)
    assert recording.frame_rate == 60.0 and recording.notes == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facsNames": None}, "'facsNames' must be a list of names"),
        ({"facsNames": ["jawDrop", "lipSuck"]}, "frame 0 of 'weightMat' has 52 weights, 'facsNames' has 2 names"),
        ({"facsNames": ["jawDrop"], "weightMat": [[0.1]], "numFrames": 1}, "Audio2Face's own 46 poses"),
        ({"facsNames": ["jawOpen", "JawOpen"], "weightMat": [[0, 0]], "numFrames": 1}, "both mean jawOpen"),
        ({"weightMat": []}, "'weightMat' must be a list of frames"),
        ({"weightMat": [["0.5"] * 52]}, "frame 0 of 'weightMat' holds something else than numbers"),
        ({"weightMat": [[True] * 52]}, "holds something else than numbers"),
        ({"weightMat": [[float("nan")] * 52], "numFrames": 1}, r"'weightMat' holds values that are NaN .* \[0, 0\]"),
        ({"weightMat": [[1e300] * 52], "numFrames": 1}, "NaN or infinite"),
        ({"weightMat": [[10**400] * 52], "numFrames": 1}, "too large"),
        ({"numFrames": 99}, "'numFrames' is 99, 'weightMat' has 12 frames"),
        ({"exportFps": 0}, "'exportFps' is 0; expected frames per second"),
    ],
)
def test_bad_audio2face_json(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_audio2face(tmp_path / "a2f.json")
    content = json.loads((tmp_path / "a2f.json").read_text()) | change
    (tmp_path / "a2f.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_audio2face(tmp_path / "a2f.json")


def test_other_json_is_no_motion(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="no blendshape export of Audio2Face"):
        load(tmp_path / "a.json")


def test_ifacialmocap_lines(tmp_path: Path) -> None:
    # The example of its makers: eyes that look down and in, by weights and by angles.
    shapes = {"mouthSmile_R": 0, "eyeLookDown_L": 17, "eyeLookIn_R": 6, "eyeLookIn_L": 4, "jawOpen": 12}
    first = ifacialmocap_line(shapes, "-21.5,-6.0,-6.6,-0.03,-0.1,-0.66", "6.03,2.44,0.26", "6.03,-1.67,-0.18")
    second = first.replace("-", "&").replace("#&", "#-").replace(",&", ",-") + "___iFacialMocap"
    (tmp_path / "lines.txt").write_text(f"{first}\n{second}\n")
    recording, notes = load(tmp_path / "lines.txt")
    assert len(recording) == 2 and recording.frame_rate == 60.0 and "60 frames/s were assumed" in notes[0]
    assert weight(recording, "jawOpen").tolist() == pytest.approx([0.12, 0.12])
    motion = recording.motion
    torch.testing.assert_close(motion.expression[0], motion.expression[1])
    degrees = torch.rad2deg(motion.eyes_rotation[0])
    # Axis-angle against a turn and a nod: equal to first order.
    torch.testing.assert_close(degrees, torch.tensor([6.03, -1.67, 0, 6.03, 2.44, 0]), atol=0.2, rtol=0)
    assert float(torch.rad2deg(motion.neck_rotation[0]).norm()) == pytest.approx(23.0, abs=1.0)


def test_ifacialmocap_with_time_stamps_and_a_cut_line(tmp_path: Path) -> None:
    lines = [f"{index / 30:.3f},{ifacialmocap_line({'jawOpen': index})}" for index in range(40)]
    (tmp_path / "lines.txt").write_text("\n".join(lines)[:-30])
    recording, notes = load(tmp_path / "lines.txt")
    assert len(recording) == 39 and recording.frame_rate == 30.0 and "last line (line 40) is cut short" in notes[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["jawOpen 5", "{}"], "line 1: 'jawOpen 5' is no frame"),
        (["{}", "jawOpen-5|jawOpen-6|=head#0,0,0|", "{}"], "line 2 gives jawOpen twice"),
        (["{}", "jawOpen-9e99|=head#0,0,0|", "{}"], "'jawOpen' holds values that are NaN or infinite"),
        (["myShape-5|=head#0,0,0|"], "no value has the name of an ARKit blendshape"),
    ],
)
def test_bad_ifacialmocap_lines(tmp_path: Path, lines: list[str], message: str) -> None:
    text = "\n".join(line.replace("{}", ifacialmocap_line({"jawOpen": 1})) for line in lines)
    with pytest.raises(UserError, match=message.replace("|", r"\|")):
        recording_of_ifacialmocap(text, tmp_path / "lines.txt", None)


def test_notes_reach_python_as_warnings(tmp_path: Path) -> None:
    np.savez(tmp_path / "take.npz", weights=np.zeros((2, len(ARKIT_NAMES))))
    with pytest.warns(UserWarning, match=r"take\.npz: it does not say its frame rate; 30 frames/s were assumed"):
        recording = load_recording(tmp_path / "take.npz", load_open_head())
    assert len(recording.notes) == 1 and len(recording.frames(0, 1).notes) == 1
