"""The frozen residual head: against plain loops, in poses, and in the avatar's file."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import PLAIN_VERSION, VERSION, load_avatar, read_avatar_header, save_avatar
from spatialavatar.avatar.residual import ATTRIBUTES, Residual, film_residuals
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from tests.avatar.test_file import rewritten
from tests.synthetic import painted_avatar

CHANNELS, HIDDEN, CONDITION = 6, 5, 52 + 12


def random_residual(count: int, seed: int = 0) -> Residual:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return 0.2 * torch.randn(*shape, generator=generator)

    film = 2 * CHANNELS * len(ATTRIBUTES)
    return Residual(
        features=draw(count, CHANNELS).half().float(),
        hidden_weight=draw(HIDDEN, CONDITION),
        hidden_bias=draw(HIDDEN),
        film_weight=draw(film, HIDDEN),
        film_bias=draw(film),
        weights=draw(13, CHANNELS),
        biases=draw(13),
    )


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    made = painted_avatar(24)
    return replace(made, residual=random_residual(len(made)))


@pytest.fixture(scope="module")
def motion(avatar: Avatar) -> Motion:
    motion = Motion.neutral(1, avatar.head.num_expressions)
    motion.expression[0, ::3] = 0.4
    motion.jaw_rotation[0, 0] = 0.1
    return motion


def test_film_is_what_it_says() -> None:
    """Channel by channel: modulate by 1 + scale and shift, then a 1 x 1 convolution."""
    maps, film = torch.randn(2, 4, CHANNELS), torch.randn(2, 2 * CHANNELS * 4)
    weights = {name: torch.randn(size, CHANNELS) for name, size in ATTRIBUTES.items()}
    biases = {name: torch.randn(size) for name, size in ATTRIBUTES.items()}
    found = film_residuals(maps, film, weights, biases)
    assert "opacity" not in found
    for index, (name, size) in enumerate(ATTRIBUTES.items()):
        for sample in range(2):
            scale = film[sample, index * 2 * CHANNELS : (2 * index + 1) * CHANNELS]
            shift = film[sample, (2 * index + 1) * CHANNELS : (index + 1) * 2 * CHANNELS]
            for pixel in range(4):
                modulated = [float(maps[sample, pixel, c] * (1 + scale[c]) + shift[c]) for c in range(CHANNELS)]
                for out in range(size):
                    total = sum(modulated[c] * float(weights[name][out, c]) for c in range(CHANNELS))
                    # 1e-4: six products of float32 values of order 1, added in another order.
                    assert abs(total + float(biases[name][out]) - float(found[name][sample, pixel, out])) < 1e-4


def test_posing_applies_it(avatar: Avatar, motion: Motion) -> None:
    plain = replace(avatar, residual=None)
    assert avatar.residual is not None
    corrections = avatar.residual.corrections(motion.condition())
    local = avatar.local(motion)
    torch.testing.assert_close(local.positions, avatar.gaussians.positions + corrections["position"])
    torch.testing.assert_close(local.log_scales, avatar.gaussians.log_scales + corrections["log_scale"])
    assert torch.equal(local.opacity_logits, avatar.gaussians.opacity_logits)
    assert float(local.colors.min()) >= 0 and float(local.colors.max()) <= 1
    assert not torch.equal(avatar.pose(motion).positions, plain.pose(motion).positions)
    assert torch.equal(plain.local(motion).positions, plain.gaussians.positions)


def test_gradients_pass_beneath_it(avatar: Avatar, motion: Motion) -> None:
    positions = avatar.gaussians.positions.clone().requires_grad_()
    moved = replace(avatar, gaussians=replace(avatar.gaussians, positions=positions))
    moved.local(motion).positions.sum().backward()
    assert positions.grad is not None and bool((positions.grad == 1).all())


def test_it_must_fit_the_avatar(avatar: Avatar) -> None:
    with pytest.raises(UserError, match="residual head has 7 Gaussians"):
        replace(avatar, residual=random_residual(7))
    with pytest.raises(ValueError, match=r"Residual.hidden_bias must have shape \(5,\)"):
        replace(random_residual(7), hidden_bias=torch.zeros(4))


def test_round_trip_is_exact(avatar: Avatar, motion: Motion, tmp_path: Path) -> None:
    loaded = load_avatar(save_avatar(avatar, tmp_path / "me.avatar"))
    assert loaded.residual is not None and avatar.residual is not None
    for item in fields(Residual):
        assert torch.equal(getattr(loaded.residual, item.name), getattr(avatar.residual, item.name)), item.name
    assert torch.equal(loaded.pose(motion).positions, avatar.pose(motion).positions)
    with safe_open(str(tmp_path / "me.avatar"), framework="pt") as file:
        assert file.get_tensor("residual.features").dtype == torch.float16


def test_files_without_it_keep_their_version(avatar: Avatar, tmp_path: Path) -> None:
    plain = save_avatar(replace(avatar, residual=None), tmp_path / "plain.avatar")
    assert read_avatar_header(plain).version == PLAIN_VERSION and load_avatar(plain).residual is None
    assert read_avatar_header(save_avatar(avatar, tmp_path / "me.avatar")).version == VERSION


def test_a_damaged_one_is_named(avatar: Avatar, tmp_path: Path) -> None:
    path = save_avatar(avatar, tmp_path / "me.avatar")
    with pytest.raises(UserError, match=r"'residual.weights' has shape \(12, 6\); expected \(13, 6\)"):
        load_avatar(rewritten(path, tensors={"residual.weights": torch.zeros(12, 6)}))
    with pytest.raises(UserError, match=r"'residual.features' is float32; expected float16"):
        load_avatar(rewritten(path, tensors={"residual.features": torch.zeros(len(avatar), 6)}))
