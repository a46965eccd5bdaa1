"""The .spz of a posed avatar, against a slow reader of the format."""

import gzip
from pathlib import Path
from typing import Literal

import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.export.place import posed
from spatialavatar.export.spz import read_spz, write_spz
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render
from tests.oracles.spz import read_spz_slowly
from tests.synthetic import painted_avatar


def any_gaussians(count: int = 300) -> WorldGaussians:
    generator = torch.Generator().manual_seed(3)
    turns = torch.randn(count, 4, generator=generator)
    turns[:8] = torch.cat([torch.eye(4), -torch.eye(4)])
    return WorldGaussians(
        positions=torch.randn(count, 3, generator=generator) * 0.2,
        quaternions_wxyz=3 * turns,
        scales=torch.exp(torch.rand(count, 3, generator=generator) * 5 - 9),
        opacities=torch.rand(count, generator=generator) * 0.98 + 0.02,
        colors=torch.rand(count, 3, generator=generator),
    )


@pytest.mark.parametrize(("version", "degrees"), [(2, 12.0), (3, 0.3)])
def test_a_slow_reader_sees_the_same(tmp_path: Path, version: Literal[2, 3], degrees: float) -> None:
    gaussians = any_gaussians()
    write_spz(gaussians, tmp_path / "me.spz", version)
    found, splats = read_spz_slowly(tmp_path / "me.spz")
    assert found == version and len(splats) == len(gaussians)
    for name, tolerance in (
        ("position", 0.5 / 2**16 + 1e-7),  # half a step of the fixed point
        ("opacity", 0.5 / 255 + 1e-6),  # half a step of eight bits
        ("color", 0.5 / 255 / 0.15 * 0.2821 + 1e-6),  # the same, stretched by the wide range of colours
    ):
        values = torch.tensor([getattr(splat, name) for splat in splats])
        truth = {"position": gaussians.positions, "opacity": gaussians.opacities, "color": gaussians.colors}[name]
        torch.testing.assert_close(values, truth, atol=tolerance, rtol=0)
    scales = torch.tensor([splat.scale for splat in splats])
    # Half of a sixteenth of the logarithm.
    torch.testing.assert_close(scales.log(), gaussians.scales.log(), atol=0.5 / 16 + 1e-4, rtol=0)
    turns = torch.tensor([splat.xyzw for splat in splats])[:, [3, 0, 1, 2]]
    truth = torch.nn.functional.normalize(gaussians.quaternions_wxyz, dim=-1)
    cosine = (torch.nn.functional.normalize(turns, dim=-1) * truth).sum(-1).abs().clamp(max=1)
    # Version 2 derives w from bytes, which is bad where w is small; version 3 has ten bits.
    assert float(torch.rad2deg(2 * torch.acos(cosine)).max()) < degrees


@pytest.mark.parametrize("version", [2, 3])
def test_our_reader_agrees_with_the_slow_one(tmp_path: Path, version: Literal[2, 3]) -> None:
    write_spz(any_gaussians(), tmp_path / "me.spz", version)
    _, splats = read_spz_slowly(tmp_path / "me.spz")
    read = read_spz(tmp_path / "me.spz")
    # The same arithmetic in double and single precision.
    torch.testing.assert_close(read.positions, torch.tensor([s.position for s in splats]), atol=1e-6, rtol=0)
    torch.testing.assert_close(read.scales, torch.tensor([s.scale for s in splats]), atol=0, rtol=1e-5)
    torch.testing.assert_close(read.colors, torch.tensor([s.color for s in splats]), atol=1e-5, rtol=0)
    # w comes from a difference of nearly equal numbers where it is small.
    turns = torch.tensor([s.xyzw for s in splats])[:, [3, 0, 1, 2]]
    torch.testing.assert_close(read.quaternions_wxyz, turns, atol=1e-3, rtol=0)


def test_round_trip_draws_nearly_the_same_picture(tmp_path: Path) -> None:
    avatar = painted_avatar(32)
    gaussians = posed(avatar, centered=False)
    write_spz(gaussians, tmp_path / "me.spz")
    camera, white = avatar.default_camera(64), torch.ones(3)
    difference = render(read_spz(tmp_path / "me.spz"), camera, white).image - render(gaussians, camera, white).image
    # Scales in steps of 6 % move outlines a little: 2/255 on average.
    assert float(difference.abs().mean()) < 2 / 255


def test_what_cannot_be_seen_is_left_out(tmp_path: Path) -> None:
    gaussians = any_gaussians(10)
    gaussians.opacities[:4] = 0.001
    write_spz(gaussians, tmp_path / "me.spz")
    assert len(read_spz(tmp_path / "me.spz")) == 6


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_spz(any_gaussians(50), tmp_path / "me.spz")
    whole = gzip.decompress((tmp_path / "me.spz").read_bytes())
    cases = {
        "this is not a readable": b"no gzip at all",
        "this is not a .spz": gzip.compress(b"something else entirely"),
        "cut short": gzip.compress(whole[:200]),
        "version 9": gzip.compress(whole[:4] + b"\x09" + whole[5:]),
    }
    for message, content in cases.items():
        (tmp_path / "bad.spz").write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_spz(tmp_path / "bad.spz")
    with pytest.raises(UserError, match="no such file"):
        read_spz(tmp_path / "none.spz")
