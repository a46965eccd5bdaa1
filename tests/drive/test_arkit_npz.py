"""ARKit blendshapes as arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spatialavatar.drive.arkit_npz import read_arkit_npz
from spatialavatar.drive.arkit_table import read_arkit_table
from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.errors import UserError
from tests.drive.sources import live_link_table, weight


def test_npz_and_csv_agree(tmp_path: Path) -> None:
    table = read_arkit_table(
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
        ({"weights": np.array([[object()] * 52])}, "holds Python objects"),
    ],
)
def test_bad_npz(tmp_path: Path, content: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "take.npz", **content, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        read_arkit_npz(tmp_path / "take.npz")


def test_frame_rates_of_a_file(tmp_path: Path) -> None:
    weights = np.zeros((3, 52))
    np.savez(tmp_path / "take.npz", weights=weights)
    assert "30 frames/s were assumed" in read_arkit_npz(tmp_path / "take.npz").notes[0]
    np.savez(tmp_path / "take.npz", weights=weights, frame_rate=24.0)
    recording = read_arkit_npz(tmp_path / "take.npz", 48.0)
    assert recording.frame_rate == 48.0 and "it says 24 frames/s; the 48 frames/s given" in recording.notes[0]
    for rate in (np.nan, 0.0, -1.0, np.inf, 1e9, [1.0, 2.0], "fast"):
        np.savez(tmp_path / "take.npz", weights=weights, frame_rate=rate)
        with pytest.raises(UserError, match="the key 'frame_rate' is"):
            read_arkit_npz(tmp_path / "take.npz")


def test_units_are_those_of_tables(tmp_path: Path) -> None:
    weights, angles = np.zeros((4, 52)), np.zeros((4, 3))
    weights[:, :20], angles[1, 0] = 40.0, -25.0
    np.savez(tmp_path / "take.npz", weights=weights, head_angles=angles, frame_rate=30)
    recording = read_arkit_npz(tmp_path / "take.npz")
    assert float(recording.motion.expression.max()) == pytest.approx(0.4) and len(recording.notes) == 2
    assert float(recording.motion.neck_rotation[1, 1]) == pytest.approx(np.deg2rad(-25.0))


def test_other_keys_are_not_even_decompressed(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "take.npz", weights=np.zeros((2, 52)), frame_rate=30, filler=np.zeros(1 << 22))
    assert len(read_arkit_npz(tmp_path / "take.npz")) == 2
    np.savez_compressed(tmp_path / "take.npz", weights=np.zeros((1_000_001, 52), np.uint8), frame_rate=30)
    with pytest.raises(UserError, match="1,000,001 frames; up to 1,000,000 are read"):
        read_arkit_npz(tmp_path / "take.npz")
