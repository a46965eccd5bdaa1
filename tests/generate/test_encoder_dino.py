"""The DINO encoder on a tiny random model, saved and loaded in the hub's layout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spatialavatar.errors import UserError
from spatialavatar.generate.config import PAPER
from spatialavatar.generate.generator import Generator
from tests.generate.small import CONDITION, FRONT, layout, person

transformers = pytest.importorskip("transformers", reason="the extra `paper` is not installed")

from spatialavatar.generate.dpt import tapped_layers  # noqa: E402
from spatialavatar.generate.encoder_dino import DinoEncoder, load_backbone  # noqa: E402
from spatialavatar.train.config import phase2  # noqa: E402
from spatialavatar.train.optimiser import rate_scales  # noqa: E402

HIDDEN = 32


def tiny_model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = transformers.DINOv3ViTConfig(
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_register_tokens=4,
        initializer_range=0.3,
    )
    return transformers.DINOv3ViTModel(config).eval()


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as the hub has DINOv3: layers are called `layer.0...`, not `model.layer.0...`."""
    folder = tmp_path_factory.mktemp("dino")
    model = tiny_model()
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
    weights = {name.removeprefix("model."): value.contiguous() for name, value in model.state_dict().items()}
    weights = {name: value for name, value in weights.items() if "inv_freq" not in name}
    assert any(name.startswith("layer.0.") for name in weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("which", ["folder", "file"])
def test_weights_come_from_the_hubs_layout(hub_folder: Path, which: str) -> None:
    path = hub_folder if which == "folder" else hub_folder / "model.safetensors"
    loaded, truth = load_backbone("dinov3-b", str(path)), tiny_model()
    for name, value in truth.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_patch_tokens_are_neither_cls_nor_registers(hub_folder: Path) -> None:
    """What the neck reads is the model's own sequence from the sixth token on, row by row of patches."""
    model = load_backbone("dinov3-b", str(hub_folder))
    encoder = DinoEncoder(model, 16, frozen=True)
    images = torch.rand(2, 3, 48, 32)
    levels, code, height, width = encoder.tokens(images)
    assert (height, width) == (3, 2) and [level.shape for level in levels] == [(2, 6, HIDDEN)] * 4
    with torch.no_grad():
        truth = model((images - encoder.mean) / encoder.deviation)
    torch.testing.assert_close(levels[-1], truth.last_hidden_state[:, 5:])
    torch.testing.assert_close(code, truth.last_hidden_state[:, 0])
    assert tapped_layers(12) == (3, 6, 9, 12) and tapped_layers(24) == (6, 12, 18, 24)


def test_the_neck_makes_a_dense_map_and_learns_alone(hub_folder: Path) -> None:
    encoder = DinoEncoder(load_backbone("dinov3-b", str(hub_folder)), 16, frozen=True).train()
    assert not encoder.backbone.training
    features, code = encoder(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64))
    assert features.shape == (1, 16, 32, 32) and code.shape == (1, HIDDEN)
    features.square().mean().backward()
    assert all(value.grad is None for value in encoder.backbone.parameters())
    assert any(bool(value.grad.any()) for value in encoder.neck.parameters() if value.grad is not None)


def test_dinov2_has_other_patches_and_no_registers() -> None:
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=HIDDEN, num_hidden_layers=4, num_attention_heads=4, patch_size=14, image_size=56
    )
    encoder = DinoEncoder(transformers.Dinov2Model(config).eval(), 8, frozen=True)
    levels, code, height, width = encoder.tokens(torch.rand(1, 3, 64, 64))
    assert (height, width) == (5, 5) and levels[0].shape == (1, 25, HIDDEN) and code.shape == (1, HIDDEN)


def test_the_paper_preset_on_a_tiny_encoder(hub_folder: Path) -> None:
    config = replace(
        PAPER,
        encoder_weights=str(hub_folder),
        code_channels=HIDDEN,
        image_size=64,
        encoder_size=64,
        feature_channels=16,
        layout_resolution=48,
        canvas_resolution=48,
        unet_widths=(8, 12, 16),
        style_channels=16,
        head_width=8,
        map_channels=8,
    )
    generator = Generator(config, person().avatar.head, layout()).eval()
    sources = generator.prepare([(person().sequence, 0), (person().sequence, 3)])
    assert not sources.shell.any()
    with torch.no_grad():
        first, second = (generator(sources, FRONT, torch.zeros(1, CONDITION)) for _ in range(2))
    assert first.local.positions.isfinite().all() and torch.equal(first.local.positions, second.local.positions)
    with pytest.raises(UserError, match="codes of 32 numbers"):
        Generator(replace(config, code_channels=16), person().avatar.head, layout())
    # The paper warps features and colours; how visible a pixel is, is an addition of ours.
    more = Generator(replace(config, visibility_channel=True), person().avatar.head, layout())
    inputs = [module.unet.enter.weight.shape[1] for module in (more, generator)]
    assert inputs[0] - inputs[1] == 1


def test_the_rate_falls_over_the_backbones_layers_and_nowhere_else(hub_folder: Path) -> None:
    """Layer-wise decay (App. A.2) on the real modules: DPT's own `layers.N` are no layers of the encoder."""
    encoder = DinoEncoder(load_backbone("dinov3-b", str(hub_folder)), 16, frozen=False)
    module = torch.nn.ModuleDict({"encoder": encoder, "heads": torch.nn.Linear(3, 3)})
    scales = rate_scales(module, replace(phase2().optimiser, equalised=()))
    layers = int(encoder.backbone.config.num_hidden_layers)
    by_layer = {
        layer: {round(value, 12) for name, value in scales.items() if f"encoder.backbone.model.layer.{layer}." in name}
        for layer in range(layers)
    }
    assert by_layer == {layer: {round(0.65 ** (layers - layer), 12)} for layer in range(layers)}
    first = {round(value, 12) for name, value in scales.items() if ".embeddings." in name}
    assert first == {round(0.65 ** (layers + 1), 12)}
    rest = {name: value for name, value in scales.items() if ".layer." not in name and ".embeddings." not in name}
    assert any(name.startswith("encoder.neck.") for name in rest) and set(rest.values()) == {1.0}
    frozen = DinoEncoder(load_backbone("dinov3-b", str(hub_folder)), 16, frozen=True)
    scales = rate_scales(torch.nn.ModuleDict({"encoder": frozen}), replace(phase2().optimiser, equalised=()))
    assert set(scales.values()) == {1.0}, "of a frozen backbone only the neck learns, at the base rate"


def test_missing_weights_say_where_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="weights of dinov3-l were not found") as raised:
        load_backbone("dinov3-l", str(tmp_path / "nowhere"))
    assert "facebook/dinov3-vitl16-pretrain-lvd1689m" in str(raised.value.hint)
    assert "DINOv3 License" in str(raised.value.hint)

    def offline(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect")

    monkeypatch.setattr(transformers.Dinov2Model, "from_pretrained", offline)
    with pytest.raises(UserError, match="weights of dinov2-b were not found") as raised:
        load_backbone("dinov2-b")
    assert "Apache-2.0" in str(raised.value.hint) and "facebook/dinov2-base" in str(raised.value.hint)


def test_other_weights_are_refused(hub_folder: Path, tmp_path: Path) -> None:
    weights = load_file(hub_folder / "model.safetensors")
    (tmp_path / "config.json").write_text((hub_folder / "config.json").read_text())
    save_file({k: v for k, v in weights.items() if not k.startswith("layer.2")}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"not those of dinov3-s: \d+ are missing, the first"):
        load_backbone("dinov3-s", str(tmp_path / "model.safetensors"))
    weights["norm.weight"] = torch.zeros(HIDDEN + 1)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="their shapes differ"):
        load_backbone("dinov3-s", str(tmp_path / "model.safetensors"))
    (tmp_path / "broken.safetensors").write_bytes(b"hello")
    with pytest.raises(UserError, match="no safetensors file"):
        load_backbone("dinov3-s", str(tmp_path / "broken.safetensors"))


def test_register_tokens_must_be_four(hub_folder: Path, tmp_path: Path) -> None:
    config = json.loads((hub_folder / "config.json").read_text()) | {"num_register_tokens": 0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(load_file(hub_folder / "model.safetensors"), tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="has 0 register tokens"):
        load_backbone("dinov3-b", str(tmp_path))


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="needs the package transformers") as raised:
        load_backbone("dinov3-b")
    assert "spatialavatar[paper]" in str(raised.value.hint)
