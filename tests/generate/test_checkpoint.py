"""Generators in files: exact round trips, and one clear message for everything that can be wrong."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spatialavatar.errors import UserError
from spatialavatar.generate import checkpoint
from spatialavatar.generate.checkpoint import (
    load_generator,
    read_generator_header,
    ready_generator,
    save_generator,
)
from spatialavatar.generate.config import COMPACT, PAPER, PRESETS, check_config, config_as_dict, config_from_dict
from spatialavatar.head.open_head import load_open_head
from tests.generate.small import CONDITION, FRONT, SMALL, person, small_generator
from tests.limited import refused_within


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save_generator(small_generator(trained=True), tmp_path / "g.safetensors", {"steps": 7}, dtype=torch.float32)


def rewritten(
    path: Path, tensors: dict[str, Any] | None = None, header: dict[str, Any] | None = None, **meta: str
) -> Path:
    with safe_open(str(path), framework="pt") as file:
        content = {key: file.get_tensor(key) for key in file.keys()} | (tensors or {})
        metadata = dict(file.metadata())
    metadata["header"] = json.dumps(json.loads(metadata["header"]) | (header or {}))
    save_file({k: v for k, v in content.items() if v is not None}, str(path), metadata | meta)
    return path


def test_round_trip_is_exact(path: Path) -> None:
    generator, loaded = small_generator(trained=True), load_generator(path)
    for (name, one), other in zip(generator.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    sources = generator.prepare([(person().sequence, 0)])
    with torch.no_grad():
        first, second = (model(sources, FRONT, torch.ones(1, CONDITION)) for model in (generator, loaded))
    assert torch.equal(first.local.colors, second.local.colors)
    assert read_generator_header(path).header["record"] == {"steps": 7}
    assert loaded.config == SMALL and not loaded.training


def test_half_precision_halves_the_file(path: Path, tmp_path: Path) -> None:
    half = save_generator(small_generator(trained=True), tmp_path / "half.safetensors")
    assert half.stat().st_size < 0.7 * path.stat().st_size
    # float16 keeps 11 bits: 5e-4 of each weight.
    for one, other in zip(load_generator(half).parameters(), load_generator(path).parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=6e-4, atol=1e-6)


def test_the_compact_preset_fits_its_file() -> None:
    """30 MB in float16 at most."""
    from spatialavatar.generate.generator import Generator
    from spatialavatar.head.open_head import load_open_head
    from spatialavatar.head.uv import build_uv_layout

    config = replace(COMPACT, layout_resolution=64, canvas_resolution=32)
    model = Generator(config, load_open_head(), build_uv_layout(load_open_head(), 64))
    count = sum(value.numel() for value in model.parameters())
    template = COMPACT.unet_widths[1] * ((COMPACT.canvas_resolution // 2) ** 2 - 16 * 16)
    assert 2 * (count + template) < 30e6 and count + template < 6e6


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"layout_id": "48-other"}, "trained for the UV layout 48-other; the head open-head"),
        ({"head_edition": "flame-2023"}, "trained for the head flame-2023; the head here is open-head"),
        ({"config": 3}, "header key 'config' is missing or damaged"),
    ],
)
def test_another_layout_or_head(path: Path, header: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_generator(rewritten(path, header=header))


def test_another_version_or_kind(path: Path) -> None:
    with pytest.raises(UserError, match="made by a newer version"):
        load_generator(rewritten(path, version="9"))
    with pytest.raises(UserError, match=r"not a generator: its format is spatialavatar-avatar"):
        load_generator(rewritten(path, version="1", format="spatialavatar-avatar"))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"heads.first.bias": None}, "weight 'heads.first.bias' is missing"),
        ({"heads.first.bias": torch.zeros(3)}, r"'heads.first.bias' has shape \(3,\); expected \(40,\)"),
        ({"another": torch.zeros(3)}, "weight 'another' has no place"),
        ({"heads.first.bias": torch.full((40,), float("nan"))}, "'heads.first.bias' holds NaN"),
    ],
)
def test_a_wrong_weight_is_named(path: Path, tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_generator(rewritten(path, tensors=tensors))


def test_weights_that_float16_cannot_hold_are_not_written(tmp_path: Path) -> None:
    model = small_generator()
    with torch.no_grad():
        model.heads.first.bias[0] = 1e6
    with pytest.raises(UserError, match=r"'heads.first.bias' is not finite as torch.float16"):
        save_generator(model, tmp_path / "g.safetensors")


def test_without_a_shipped_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "shipped_generator", lambda: None)
    with pytest.raises(UserError, match="comes without a trained generator"):
        load_generator()


def test_the_shipped_model_fits_the_open_head_and_says_how_it_was_trained() -> None:
    path = checkpoint.shipped_generator()
    assert path is not None and path.stat().st_size < 30e6
    record = read_generator_header(path).header["record"]
    assert record["phase"] == "multiview" and record["recipe"]["draw"]["most_sources"] == 4
    # It was trained before the view direction was taken into the head's frame, and goes on as it was trained.
    assert load_generator().config == replace(PRESETS["compact"], view_frame="world")


def test_the_shipped_model_is_read_once_for_the_open_head_and_refused_for_another() -> None:
    head = load_open_head()
    one = ready_generator(None, head)
    assert ready_generator(None, head) is one and not any(weight.requires_grad for weight in one.parameters())
    for ours, read in zip(one.parameters(), load_generator().parameters(), strict=True):
        assert torch.equal(ours, read)
    with pytest.raises(UserError, match="was trained for the head"):
        ready_generator(None, replace(head, edition="another"))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_configurations_survive_json(name: str) -> None:
    config = PRESETS[name]
    assert config_from_dict(json.loads(json.dumps(config_as_dict(config)))) == config


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(UserError, match="setting 'colour' is not known"):
        config_from_dict({"colour": 1})
    with pytest.raises(UserError, match="setting 'pool' is 3"):
        config_from_dict({"pool": 3})
    with pytest.raises(UserError, match="no pool 'median'; there are mean"):
        check_config(replace(PAPER, pool="median"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="canvas of 100 does not divide"):
        check_config(replace(PAPER, canvas_resolution=100))
    with pytest.raises(UserError, match="cannot be halved 5 times"):
        check_config(replace(PAPER, layout_resolution=48, canvas_resolution=48))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unet_widths": [10**9] * 4}, "'unet_widths' is 1000000000; expected 1 to 1024"),
        ({"unet_widths": [1024] * 4}, r"holds [\d,]+ weights; a generator of its configuration has at least"),
        ({"code_channels": 1024, "style_channels": 1024}, "holds .* weights"),
        ({"encoder_widths": [1024] * 8}, "holds .* weights"),
        ({"unet_widths": [8] * 9}, "more than 8 levels"),
        ({"unet_widths": []}, "more than 8 levels, or none"),
        ({"unet_widths": [8, True]}, "'unet_widths' is"),
        ({"unet_widths": ["8"]}, "'unet_widths' is"),
        ({"layout_resolution": 4096, "canvas_resolution": 2048}, "'layout_resolution' is 4096; expected 1 to 2048"),
        ({"canvas_resolution": 0}, "'canvas_resolution' is 0"),
        ({"map_channels": True}, "'map_channels' is True"),
        ({"hair_bound": 1e300}, "'hair_bound' is"),
        ({"rim": True}, "'rim' is True"),
        ({"cues": 1}, "'cues' is 1"),
    ],
)
def test_a_configuration_is_compared_with_the_file_before_memory_is_reserved(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    config = read_generator_header(path).header["config"] | changes
    rewritten(path, header={"config": config})
    assert re.search(message, refused_within(300, lambda: load_generator(path)))
