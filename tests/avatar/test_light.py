"""Light that stays while a head turns: against plain loops, in every way of drawing, and in the avatar's file."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import PLAIN_VERSION, load_avatar, read_avatar_header, save_avatar
from spatialavatar.avatar.light import BRIGHTEST, DARKEST, SHADES, brightness, shades, triangle_shades
from spatialavatar.avatar.surface import face_band
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from tests.avatar.test_file import rewritten
from tests.avatar.test_residual import random_residual
from tests.synthetic import painted_avatar


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    """Lit from above and from one side."""
    return replace(painted_avatar(24), light=torch.tensor([0.15, 0.2, 0.1, 0.02, -0.05, 0.04, 0.03, 0.02]))


def turned(avatar: Avatar, pitch: float, yaw: float = 0.0) -> Motion:
    rest = avatar.rest
    return replace(rest, neck_rotation=rest.neck_rotation + torch.tensor([[pitch, yaw, 0.0]]))


def test_shades_are_the_harmonics_of_bands_one_and_two() -> None:
    """Orthogonal to a constant and to each other over the sphere (up to the noise of 20,000 random directions)."""
    normals = torch.nn.functional.normalize(torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    values = torch.cat([torch.ones(len(normals), 1), shades(normals)], 1)
    products = values.T @ values / len(normals)
    assert (products - torch.diag(products.diag())).abs().max() < 0.03


def test_brightness_against_plain_loops(avatar: Avatar) -> None:
    """One triangle after the other, from the formulas."""
    head, light = avatar.head, avatar.light
    assert light is not None
    posed, rest = avatar.vertices(turned(avatar, 0.4)), avatar.vertices(avatar.rest)

    def of_triangle(vertices: torch.Tensor, face: int) -> list[float]:
        a, b, c = vertices[head.faces[face]].double()
        normal = torch.linalg.cross(b - a, c - a)
        x, y, z = (normal / normal.norm()).tolist()
        return [x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1]

    found = avatar.brightness(posed)
    assert found is not None and found.shape == (len(avatar),)
    for index in range(0, len(avatar), 97):
        face = int(avatar.layout.triangles[index])
        now, before = of_triangle(posed, face), of_triangle(rest, face)
        expected = 1 + sum(float(k) * (n - b) for k, n, b in zip(light, now, before, strict=True))
        # float32 normals of triangles a few millimetres wide.
        assert float(found[index]) == pytest.approx(min(max(expected, DARKEST), BRIGHTEST), abs=1e-4)


def test_a_light_has_no_say_at_rest_and_is_bounded(avatar: Avatar) -> None:
    rest = avatar.pose(avatar.rest)
    assert torch.equal(rest.colors, avatar.gaussians.colors.clamp(0, 1))
    shade = triangle_shades(avatar.vertices(turned(avatar, 0.5)), avatar.head.faces)
    factors = brightness(100 * torch.ones(SHADES), shade, avatar.resting_shades)
    assert float(factors.min()) == pytest.approx(DARKEST) and float(factors.max()) == pytest.approx(BRIGHTEST)


def test_a_face_that_bows_under_a_lamp_darkens(avatar: Avatar) -> None:
    """Light from above only: in the middle of the face, by about what the sine of the angle says."""
    lamp = replace(avatar, light=torch.tensor([0, 0.3, 0, 0, 0, 0, 0, 0.0]))
    facing = lamp.resting_shades[avatar.layout.triangles]
    front = (facing[:, 2] > 0.97) & (face_band(avatar.head, avatar.layout)[1] > 0.9)
    down, up = (lamp.brightness(lamp.vertices(turned(lamp, pitch))) for pitch in (0.4, -0.4))
    assert down is not None and up is not None
    assert float(down[front].mean()) == pytest.approx(1 - 0.3 * math.sin(0.4), abs=0.03)
    assert float(up[front].mean()) == pytest.approx(1 + 0.3 * math.sin(0.4), abs=0.03)


@pytest.mark.parametrize("with_residual", [False, True])
def test_streams_draw_the_light_too(avatar: Avatar, with_residual: bool) -> None:
    if with_residual:
        avatar = replace(avatar, residual=random_residual(len(avatar)))
    motion = turned(avatar, 0.3, 0.2)
    camera = avatar.default_camera(96)
    drawn = avatar.stream(camera).draw(motion)
    expected = avatar.render(motion, camera)
    covered = expected[..., 3:] > 0.5
    # Bytes: half a step of rounding, and one of the kernel's own arithmetic.
    difference = ((drawn.float() / 255 - expected).abs() * covered).max()
    assert float(difference) <= 1.5 / 255
    plain = replace(avatar, light=None).stream(camera).draw(motion)
    assert (plain.int() - drawn.int()).abs().max() > 8


def test_gradients_reach_colours_and_motion(avatar: Avatar) -> None:
    """float64 finite differences along one direction each."""
    light = avatar.light
    assert light is not None
    vertices = avatar.vertices(turned(avatar, 0.3)).double()
    at_rest = avatar.resting_shades.double()

    def value(mesh: torch.Tensor) -> torch.Tensor:
        return brightness(light.double(), triangle_shades(mesh, avatar.head.faces), at_rest).square().sum()

    leaf = vertices.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    way = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-7
    expected = float(value(vertices + step * way) - value(vertices - step * way)) / (2 * step)
    assert float((gradient * way).sum()) == pytest.approx(expected, rel=1e-4)


def test_the_file_keeps_it_and_its_version(avatar: Avatar, tmp_path: Path) -> None:
    """Programs that do not know of it show the avatar in the light of its rest: no new version is needed."""
    path = save_avatar(avatar, tmp_path / "lit.avatar")
    assert read_avatar_header(path).version == PLAIN_VERSION
    found = load_avatar(path)
    assert found.light is not None and avatar.light is not None and torch.equal(found.light, avatar.light)
    motion = turned(avatar, 0.3)
    assert torch.equal(found.pose(motion).colors, avatar.pose(motion).colors)
    dark = save_avatar(replace(avatar, light=None), tmp_path / "plain.avatar")
    assert load_avatar(dark).light is None


def test_a_wrong_light_is_named(avatar: Avatar, tmp_path: Path) -> None:
    path = save_avatar(avatar, tmp_path / "lit.avatar")
    with pytest.raises(UserError, match="'light'"):
        load_avatar(rewritten(path, tensors={"light": torch.zeros(3)}))
    with pytest.raises(UserError, match="light has the shape"):
        replace(avatar, light=torch.zeros(3))
