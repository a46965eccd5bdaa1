"""LPIPS with AlexNet (Zhang et al. 2018, version 0.1): how far two pictures are apart for a network's eye.

The weights are other people's and are not shipped. Two files are needed, and looked for in `folder`, in the folder
that SPATIALAVATAR_LPIPS names, and where the programs that usually bring them put them:

* AlexNet, in torchvision's layout (`features.0.weight` ...): `alexnet*.pth` or `alexnet*.safetensors`.
* The linear layers, in LPIPS's own layout (`lin0.model.1.weight` ...): `alex.pth` or `alex.safetensors`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.tensor_file import open_tensors, read_tensors

VARIABLE = "SPATIALAVATAR_LPIPS"
VERSION = "lpips-alex-0.1"

# Position in torchvision's `features`, output and input channels, kernel, stride, padding, pooled before.
_LAYERS = (
    (0, 64, 3, 11, 4, 2, False),
    (3, 192, 64, 5, 1, 2, True),
    (6, 384, 192, 3, 1, 1, True),
    (8, 256, 384, 3, 1, 1, False),
    (10, 256, 256, 3, 1, 1, False),
)
# LPIPS's scaling layer, for images in [-1, 1].
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_HINT = (
    f"Put it into a folder and name that with {VARIABLE}. AlexNet: torchvision's alexnet-owt-7be5be79.pth (BSD-3, "
    "trained on ImageNet). Linear layers: alex.pth of the package lpips or torchmetrics (BSD-2, Apache-2.0): pip "
    "install 'spatialavatar[eval]' brings them."
)


@dataclass(frozen=True, eq=False)
class Lpips:
    """The network: five convolutions (weight, bias) and five rows of channel weights (C,)."""

    convolutions: tuple[tuple[Tensor, Tensor], ...]
    linear: tuple[Tensor, ...]
    weights_id: str
    """First 12 hexadecimal digits of the hash of all weights."""

    @property
    def id(self) -> str:
        """What was measured, for reports."""
        return f"{VERSION}-{self.weights_id}"

    def to(self, device: torch.device | str) -> Lpips:
        moved = tuple((weight.to(device), bias.to(device)) for weight, bias in self.convolutions)
        return replace(self, convolutions=moved, linear=tuple(row.to(device) for row in self.linear))

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) sRGB in [0, 1] -> five feature maps (B, C, h, w), each pixel of unit length."""
        x = 2 * images - 1
        x = (x - x.new_tensor(_SHIFT)[:, None, None]) / x.new_tensor(_SCALE)[:, None, None]
        found = []
        for (weight, bias), (_, _, _, _, stride, padding, pooled) in zip(self.convolutions, _LAYERS, strict=True):
            if pooled:
                x = functional.max_pool2d(x, 3, 2)
            x = functional.relu(functional.conv2d(x, weight, bias, stride, padding))
            # The square root has no gradient at 0, which a dead pixel reaches.
            found.append(x / (x.square().sum(1, keepdim=True) + 1e-20).sqrt().clamp_min(1e-10))
        return found

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """(B,) distances of two stacks (B, 3, H, W) of sRGB images in [0, 1], at least 32 pixels wide and high;
        differentiable in the first."""
        total = images.new_zeros(len(images))
        with torch.no_grad():
            wanted = self.features(targets)
        for ours, theirs, row in zip(self.features(images), wanted, self.linear, strict=True):
            total = total + ((ours - theirs).square() * row[:, None, None]).sum(1).mean((1, 2))
        return total


def find_lpips(folder: str | os.PathLike[str] | None = None) -> tuple[Path | None, Path | None]:
    """Where AlexNet's weights and the linear layers lie; None for what is missing."""
    folders = [Path(place) for place in (folder, os.environ.get(VARIABLE)) if place]
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    network = _first([*folders, hub], ("alexnet*.safetensors", "alexnet*.pth"))
    linear = _first([*folders, *_installed()], ("alex.safetensors", "alex.pth"))
    return network, linear


def load_lpips(folder: str | os.PathLike[str] | None = None) -> Lpips:
    """Load the network.

    Args:
        folder: Where to look first.

    Raises:
        UserError: A file is missing (the hint says where to get it), damaged, or of another network.
    """
    network, linear = find_lpips(folder)
    if network is None:
        raise UserError("LPIPS needs AlexNet's weights, which were not found.", hint=_HINT)
    if linear is None:
        raise UserError("LPIPS needs its linear layers (alex.pth), which were not found.", hint=_HINT)
    first, second = _tensors(network), _tensors(linear)
    convolutions, rows = [], []
    for number, (position, outputs, inputs, kernel, *_) in enumerate(_LAYERS):
        weight = _shaped(first, f"features.{position}.weight", (outputs, inputs, kernel, kernel), network)
        bias = _shaped(first, f"features.{position}.bias", (outputs,), network)
        row = _shaped(second, f"lin{number}.model.1.weight", (1, outputs, 1, 1), linear)
        convolutions.append((weight, bias))
        rows.append(row.flatten())
    digest = hashlib.sha256()
    for tensor in (*(t for pair in convolutions for t in pair), *rows):
        digest.update(tensor.contiguous().numpy().tobytes())
    return Lpips(tuple(convolutions), tuple(rows), digest.hexdigest()[:12])


def _installed() -> list[Path]:
    """Folders in which installed packages keep LPIPS's linear layers; nothing of them is imported."""
    places = []
    for package, inside in (("lpips", "weights/v0.1"), ("torchmetrics", "functional/image/lpips_models")):
        found = importlib.util.find_spec(package)
        places += [Path(place) / inside for place in (found.submodule_search_locations or ())] if found else []
    return places


def _first(folders: list[Path], patterns: tuple[str, ...]) -> Path | None:
    for folder in folders:
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                return path
    return None


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return read_tensors(open_tensors(path, "a file of weights"))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"these weights cannot be read ({error}).", where=path, hint=_HINT) from None
    except Exception as error:
        # A damaged archive, or one that asks to run code, can fail anywhere.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"this file holds no plain weights ({reason}).", where=path, hint=_HINT) from None
    if not isinstance(loaded, dict):
        raise UserError(f"expected named weights, found {type(loaded).__name__}.", where=path, hint=_HINT)
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _shaped(tensors: dict[str, Tensor], key: str, shape: tuple[int, ...], where: Path) -> Tensor:
    if key not in tensors:
        raise UserError(f'the key "{key}" is missing.', where=where, hint=_HINT)
    if tuple(tensors[key].shape) != shape:
        found = tuple(tensors[key].shape)
        raise UserError(f'the key "{key}" must have shape {shape}, found {found}.', where=where, hint=_HINT)
    return tensors[key].detach().float()
