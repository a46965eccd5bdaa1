"""The .ply of a posed avatar."""

from pathlib import Path

import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.export.ply import read_ply, write_ply
from spatialavatar.splat.render import render
from tests.synthetic import painted_avatar


def test_round_trip_draws_the_same_picture(tmp_path: Path) -> None:
    avatar = painted_avatar(24)
    posed = avatar.pose(avatar.rest)
    write_ply(posed, tmp_path / "me.ply")
    loaded = read_ply(tmp_path / "me.ply")
    # Logarithms and logits cost float32 some digits: 1e-5 of values of order one, and of scales of millimetres.
    torch.testing.assert_close(loaded.positions, posed.positions, atol=0, rtol=0)
    torch.testing.assert_close(loaded.scales, posed.scales, atol=0, rtol=1e-5)
    torch.testing.assert_close(loaded.opacities, posed.opacities, atol=1e-5, rtol=0)
    torch.testing.assert_close(loaded.colors, posed.colors, atol=1e-5, rtol=0)
    camera, white = avatar.default_camera(64), torch.ones(3)
    # 1/255: no 8-bit picture changes by more than rounding.
    torch.testing.assert_close(
        render(loaded, camera, white).image, render(posed, camera, white).image, atol=1 / 255, rtol=0
    )


def test_the_header_is_what_viewers_expect(tmp_path: Path) -> None:
    write_ply(painted_avatar(16).pose(painted_avatar(16).rest), tmp_path / "me.ply")
    lines = (tmp_path / "me.ply").read_bytes().split(b"end_header")[0].decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert lines[3:6] == ["property float x", "property float y", "property float z"]
    assert lines[-1] == "property float rot_3" and len(lines) == 3 + 17


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "me.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 1\nend_header\n0 0 0\n")
    with pytest.raises(UserError, match="not a binary"):
        read_ply(tmp_path / "me.ply")
