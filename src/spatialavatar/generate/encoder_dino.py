"""The paper preset's encoder: a frozen DINOv3 (or DINOv2) with a trainable DPT neck (§3.2, Tab. 6).

The networks come from `transformers` (an extra: pip install "spatialavatar[paper]"), their weights from a local
folder or file in the hub's layout, or from the hub. DINOv3's are given out under the DINOv3 License to those who ask,
DINOv2's under Apache-2.0 to everybody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from spatialavatar.errors import UserError
from spatialavatar.generate.config import GeneratorConfig
from spatialavatar.generate.dpt import DPT, tapped_layers
from spatialavatar.tensor_file import open_tensors, read_tensors

HUB_NAMES = {
    "dinov3-s": "facebook/dinov3-vits16-pretrain-lvd1689m",
    "dinov3-b": "facebook/dinov3-vitb16-pretrain-lvd1689m",
    "dinov3-l": "facebook/dinov3-vitl16-pretrain-lvd1689m",
    "dinov2-s": "facebook/dinov2-small",
    "dinov2-b": "facebook/dinov2-base",
    "dinov2-l": "facebook/dinov2-large",
}
SIZES: dict[str, dict[str, Any]] = {
    "s": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "b": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "l": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
}
REGISTERS = 4
"""Register tokens of every DINOv3; transformers' default says 0."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, by which both were trained."""


class DinoEncoder(nn.Module):
    """(M, 3, s, s) pictures -> (M, C, h, w) features and (M, hidden) CLS tokens; mattes are not looked at.

    Args:
        backbone: A DINOv3ViTModel or Dinov2Model.
        channels: C.
        frozen: Keep the backbone as it is; only the neck learns.
    """

    def __init__(self, backbone: Any, channels: int, frozen: bool):
        super().__init__()
        self.backbone = backbone
        self.frozen = frozen
        config = self.backbone.config
        self.patch = int(config.patch_size)
        self.prefix = 1 + int(getattr(config, "num_register_tokens", 0))
        """CLS and registers, which stand before the patches."""
        self.taps = tapped_layers(int(config.num_hidden_layers))
        self.neck = DPT(int(config.hidden_size), channels)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)
        if frozen:
            self.backbone.requires_grad_(False)
            self.backbone.eval()

    def train(self, mode: bool = True) -> DinoEncoder:
        """As for every module, but a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def tokens(self, images: Tensor) -> tuple[list[Tensor], Tensor, int, int]:
        """Normalised patch tokens of the tapped layers, the CLS token, and how many patches lie along each side."""
        height, width = (max(1, round(side / self.patch)) for side in images.shape[-2:])
        size = (height * self.patch, width * self.patch)
        if size != tuple(images.shape[-2:]):
            images = functional.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.backbone((images - self.mean) / self.deviation, output_hidden_states=True)
            norm = self.backbone.norm if hasattr(self.backbone, "norm") else self.backbone.layernorm
            levels = [norm(output.hidden_states[layer])[:, self.prefix :] for layer in self.taps]
            code = output.last_hidden_state[:, 0]
        return levels, code, height, width

    def forward(self, images: Tensor, mattes: Tensor) -> tuple[Tensor, Tensor]:
        levels, code, height, width = self.tokens(images)
        return self.neck(levels, height, width), code


def make_dino_encoder(config: GeneratorConfig) -> DinoEncoder:
    """The encoder of a configuration, with its weights.

    Raises:
        UserError: transformers is missing, the weights are missing or others, or the code's length does not fit.
    """
    backbone = load_backbone(config.encoder, config.encoder_weights)
    hidden = int(backbone.config.hidden_size)
    if hidden != config.code_channels:
        raise UserError(
            f"the encoder {config.encoder} has codes of {hidden} numbers and the configuration says "
            f"{config.code_channels}.",
            hint=f"Set code_channels to {hidden}.",
        )
    return DinoEncoder(backbone, config.feature_channels, config.encoder_frozen)


def load_backbone(name: str, weights: str = "") -> Any:
    """A DINO from transformers.

    Args:
        name: "dinov3-b" and the like.
        weights: A folder as the hub has it (config.json and model.safetensors), a .safetensors file of it, a name on
            the hub, or nothing: the usual name.
    """
    try:
        from transformers import Dinov2Config, Dinov2Model, DINOv3ViTConfig, DINOv3ViTModel
        from transformers.utils import logging
    except ImportError:
        raise UserError(
            f"the encoder {name} needs the package transformers.",
            hint='Install it: pip install "spatialavatar[paper]"',
        ) from None
    third = name.startswith("dinov3")
    kind: Any = DINOv3ViTModel if third else Dinov2Model
    wanted = weights or HUB_NAMES[name]
    path = Path(wanted)
    local = path.exists() or path.suffix == ".safetensors" or path.is_absolute()
    if local and not path.exists():
        raise _missing(name, wanted)
    arguments: dict[str, Any] = {}
    if local:
        folder = path.parent if path.is_file() else path
        if (folder / "config.json").exists():
            arguments["config"] = kind.config_class.from_pretrained(folder)
        else:
            size = SIZES[name[-1]]
            size = {**size, "intermediate_size": 4 * size["hidden_size"], "num_register_tokens": REGISTERS}
            arguments["config"] = DINOv3ViTConfig(**size) if third else Dinov2Config(**SIZES[name[-1]], image_size=518)
        if third:
            _check_registers(arguments["config"], wanted)
    if path.is_file():
        arguments["state_dict"] = _read_weights(path)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it draws a table of what differs; the error below says it in a sentence
    try:
        source = None if path.is_file() else wanted
        model, info = kind.from_pretrained(source, output_loading_info=True, local_files_only=local, **arguments)
    except (OSError, ValueError, RuntimeError):
        if local:
            raise UserError(f"these weights are not those of {name}: their shapes differ.", where=path) from None
        raise _missing(name, wanted) from None
    finally:
        logging.set_verbosity(verbosity)
    absent = sorted(info["missing_keys"])
    if absent:
        raise UserError(
            f"these weights are not those of {name}: {len(absent)} are missing, the first {absent[0]}.", where=wanted
        )
    if third:
        _check_registers(model.config, wanted)
    return model.float().eval()


def _missing(name: str, wanted: str) -> UserError:
    if name.startswith("dinov3"):
        terms = "under the DINOv3 License, to those who accept it there"
    else:
        terms = "under Apache-2.0"
    return UserError(
        f"the weights of {name} were not found: {wanted}.",
        hint=f"Hugging Face gives them out as {HUB_NAMES[name]}, {terms}: download that folder and name it as "
        "encoder_weights, or log in with `hf auth login` and leave encoder_weights empty.",
    )


def _check_registers(config: Any, where: str) -> None:
    if int(config.num_register_tokens) != REGISTERS:
        raise UserError(
            f"this DINOv3 has {config.num_register_tokens} register tokens; all that were given out have {REGISTERS}.",
            where=where,
            hint='Set "num_register_tokens": 4 in its config.json.',
        )


def _read_weights(path: Path) -> dict[str, Tensor]:
    return read_tensors(open_tensors(path, "a file of weights"))
