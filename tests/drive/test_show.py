"""Built-in motion, and the one entry for everything that drives."""

import math
from pathlib import Path

import pytest
import torch

from spatialavatar.avatar.framing import head_rotation
from spatialavatar.drive.load import SHOWS, built_in, load_recording
from spatialavatar.drive.show import TURN, expression_reel, for_head, joined, turntable
from spatialavatar.errors import UserError
from spatialavatar.head.open_head import load_open_head


def test_the_turntable_reaches_45_degrees_on_both_sides_and_closes() -> None:
    motion = turntable(seconds=4).motion
    yaw = motion.global_rotation[:, 1]
    assert len(motion) == 100 and float(yaw.max()) == pytest.approx(TURN) == pytest.approx(-float(yaw.min()))
    assert math.degrees(TURN) == pytest.approx(45)
    # No jump where the video starts again.
    assert float((yaw[0] - yaw[-1]).abs()) <= float(yaw.diff().abs().max()) + 1e-6


def test_the_reel_starts_and_ends_at_rest_and_moves_smoothly() -> None:
    motion = expression_reel().motion
    for frame in (0, -1):
        assert float(motion.expression[frame].abs().max()) == 0
        torch.testing.assert_close(head_rotation(motion)[frame], torch.eye(3))
    assert float(motion.expression.diff(dim=0).abs().max()) < 0.3, "no shape jumps between two frames"
    assert 0 <= float(motion.expression.min()) and float(motion.expression.max()) <= 1


def test_a_head_with_a_jaw_shape_does_not_turn_the_jaw_as_well() -> None:
    head = load_open_head()
    shown = for_head(expression_reel(), head.expression_names, head.edition)
    assert float(shown.motion.jaw_rotation.abs().max()) == 0
    assert float(shown.motion.expression[:, list(shown.expression_names).index("jawOpen")].max()) > 0.5


def test_a_head_with_numbered_components_shows_some_and_opens_its_jaw() -> None:
    names = tuple(f"expression_{i:03d}" for i in range(100))
    shown = for_head(expression_reel(), names, "flame-2023")
    assert shown.head_edition == "flame-2023" and shown.motion.expression.shape[1] == 100
    assert int((shown.motion.expression.abs().amax(0) > 1).sum()) >= 4
    assert float(shown.motion.jaw_rotation[:, 0].max()) > 0.2
    assert len(joined(for_head(turntable(), names, "flame-2023"), shown)) == 100 + len(shown)


@pytest.mark.parametrize("name", SHOWS)
def test_built_in_motion_by_name(name: str) -> None:
    assert len(load_recording(name, load_open_head())) == len(built_in(name, load_open_head())) > 50


def test_frames_can_be_chosen() -> None:
    part = turntable().frames(10, 50, 4)
    assert len(part) == 10 and part.frame_rate == 25 / 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.csv", "no such file"),
        ("you.docx", "nothing can be driven with a file ending in '.docx'"),
        (".", "not a tracked one"),
    ],
)
def test_what_cannot_drive(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "you.docx").write_text("")
    with pytest.raises(UserError, match=message):
        load_recording(tmp_path / name, load_open_head())
