"""Units of weights and angles: converted where certain, said or refused where not."""

import math

import numpy as np
import pytest

from spatialavatar.drive.plausible import plausible_columns
from spatialavatar.errors import UserError


def check(**columns: list[float]) -> tuple[dict[str, np.ndarray], list[str]]:
    arrays = {name: np.array(column, np.float64) for name, column in columns.items()}
    return plausible_columns(arrays, "take.csv", lambda row: f"row {row + 2}")


def test_weights_and_radians_are_left_alone() -> None:
    columns, notes = check(jawOpen=[0.0, 1.00005], mouthLeft=[0.3, -0.00001], headYaw=[1.5, -0.4], leftEyeYaw=[0.7, 0])
    assert notes == [] and columns["jawOpen"][1] == 1.0 and columns["headYaw"][0] == 1.5


@pytest.mark.parametrize(
    "columns",
    [
        {"jawOpen": [0.0, 100.0], "mouthSmileLeft": [12.0, 12.0], "cheekPuff": [0.0, 0.4]},
        {"jawOpen": [0.0, 80.5]},
        {"jawOpen": [0.0, 3.0], "mouthLeft": [1.0, 2.0]},  # whole numbers
        {"jawOpen": [-3.0, 130.0], "mouthLeft": [20.0, 2.0]},
    ],
)
def test_percent(columns: dict[str, list[float]]) -> None:
    converted, notes = check(**columns)
    assert "were taken as percent" in notes[0]
    assert converted["jawOpen"][1] == pytest.approx(min(1.0, columns["jawOpen"][1] / 100))


def test_extrapolated_weights_are_clamped_and_counted() -> None:
    columns, notes = check(jawOpen=[0.0, 1.2, 1.3], mouthLeft=[-0.1, 0.5, 1.0])
    assert notes == ["3 of its 6 weights lie outside 0 to 1 (from -0.1 to 1.3) and were clamped."]
    assert list(columns["jawOpen"]) == [0.0, 1.0, 1.0] and columns["mouthLeft"][0] == 0.0


def test_neither_weights_nor_percent_is_said() -> None:
    _, notes = check(jawOpen=[0.0, 2.3], mouthLeft=[0.2, 0.4])
    assert "too much for 0 to 1 and too little for percent" in notes[0] and "clamped" in notes[1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"jawOpen": [0.0, 255.0]}, "row 3, column jawOpen: 255 is no value of a weight"),
        ({"jawOpen": [0.1, 40.0], **{f"mouth{s}": [0.2, 0.9] for s in ("Left", "Right", "Close")}}, "row 3, .*: 40 "),
        ({"jawOpen": [0.0, -40.0], "mouthLeft": [0.1, 0.2]}, "row 3, column jawOpen: -40 "),
        ({"jawOpen": [0.0, 0.0], "headYaw": [0.0, 1000.0]}, "row 3, column headYaw: 1000 is no value of an angle"),
        ({"headYaw": [0.0, 200.0], "headPitch": [-10.0, 0.0]}, "column headYaw: 200 .* degrees up to 180"),
    ],
)
def test_what_cannot_be_a_face_is_refused_with_its_place(columns: dict[str, list[float]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(**columns)


@pytest.mark.parametrize("largest", [30.0, 3.3, 170.0])
def test_degrees_are_certain_beyond_pi(largest: float) -> None:
    columns, notes = check(headYaw=[-2.0, largest], leftEyePitch=[1.0, 2.0])
    assert "were taken as degrees" in notes[0]
    assert columns["headYaw"][1] == pytest.approx(math.radians(largest))
    assert columns["leftEyePitch"][1] == pytest.approx(math.radians(2.0)), "all angles of a file have one unit"
    assert (len(notes) == 2) == (largest == 170.0), "no neck turns by 170 degrees"


def test_between_a_neck_and_pi_is_said() -> None:
    columns, notes = check(headYaw=[0.0, 2.5], rightEyeYaw=[1.2, 0.0])
    assert columns["headYaw"][1] == 2.5
    assert "the head turns by up to 143 degrees" in notes[0] and "the eyes turn by up to 69 degrees" in notes[1]


def test_angles_from_zero_to_a_whole_turn() -> None:
    columns, notes = check(headYaw=[0.1, math.tau - 0.2], headPitch=[0.0, 0.3])
    assert columns["headYaw"][1] == pytest.approx(-0.2) and len(notes) == 1 and "negative" in notes[0]
    columns, notes = check(headYaw=[350.0, 10.0], headPitch=[5.0, 0.0])
    assert columns["headYaw"][0] == pytest.approx(math.radians(-10.0))
    # From 0 to 6.2 without a jump they are degrees of a head that hardly moves.
    columns, _ = check(headYaw=list(np.linspace(0, 6.2, 50)))
    assert columns["headYaw"][-1] == pytest.approx(math.radians(6.2))
