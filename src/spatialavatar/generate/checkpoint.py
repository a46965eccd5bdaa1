"""A generator in a file: weights, configuration, and the layout they belong to; one safetensors file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files as package_files
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatialavatar.avatar.container import Contents, read_contents, write_contents
from spatialavatar.errors import UserError
from spatialavatar.generate.config import GeneratorConfig, config_as_dict, config_from_dict
from spatialavatar.generate.generator import Generator
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.tensor_file import read_tensors

FORMAT = "spatialavatar-generator"
VERSION = 1
"""Raised when the meaning of weights changes."""
FROZEN = "encoder.backbone."
"""Weights that come from elsewhere and are not kept while they are frozen."""


def shipped_generator() -> Path | None:
    """The model that comes with the package, where one does."""
    path = Path(str(package_files("spatialavatar.generate"))) / "assets" / "compact.safetensors"
    return path if path.exists() else None


def own_weights(generator: Generator) -> dict[str, Tensor]:
    """The weights that a checkpoint keeps: all but a frozen encoder's."""
    frozen = generator.config.encoder_frozen
    return {name: value for name, value in generator.state_dict().items() if not (frozen and name.startswith(FROZEN))}


def save_generator(
    generator: Generator,
    path: str | os.PathLike[str],
    record: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write a generator, whole or not at all.

    Args:
        record: What it was trained on and how, as JSON values.
        dtype: Of the weights in the file.

    Raises:
        UserError: A weight is not finite, or the file cannot be written.
    """
    tensors = {name: value.detach().to("cpu", dtype) for name, value in own_weights(generator).items()}
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"this generator is not written: its '{name}' is not finite as {dtype}.", where=path)
    header = {
        "config": config_as_dict(generator.config),
        "head_edition": generator.head.edition,
        "head_name": generator.head.name,
        "layout_id": generator.layout.layout_id,
        "record": dict(record or {}),
    }
    write_contents(path, format=FORMAT, version=VERSION, header=header, tensors=tensors)
    return Path(path)


def read_generator_header(path: str | os.PathLike[str]) -> Contents:
    """What a generator's file says about itself.

    Raises:
        UserError: It is no such file, is damaged, or is newer than this program.
    """
    contents = read_contents(path, format=FORMAT, newest=VERSION, what="a generator")
    for key, kind in {"config": dict, "head_edition": str, "layout_id": str, "record": dict}.items():
        if not isinstance(contents.header.get(key), kind):
            raise UserError(f"the header key '{key}' is missing or damaged.", where=path)
    return contents


def load_generator(path: str | os.PathLike[str] | None = None, head: Head | None = None) -> Generator:
    """Read a generator, ready to use (in evaluation mode, float32, on the CPU).

    Args:
        path: The file; the one that comes with the package by default.
        head: The head it was trained for; the open head by default.

    Raises:
        UserError: No file, another kind or version of file, another head or layout, missing or misshapen weights.
    """
    path = shipped_generator() if path is None else Path(path)
    if path is None:
        raise UserError(
            "this package comes without a trained generator.",
            hint="Train one with `spatialavatar train`, or start from the texture: --start texture.",
        )
    contents = read_generator_header(path)
    head = load_open_head() if head is None else head
    wanted = contents.header["head_edition"]
    if head.edition != wanted:
        raise UserError(
            f"this generator was trained for the head {wanted}; the head here is {head.edition}.",
            where=path,
            hint="Use the head it was trained for, or train one for this head.",
        )
    config = config_from_dict(contents.header["config"], path)
    _check_amount(contents, config)
    layout = build_uv_layout(head, config.layout_resolution)
    if layout.layout_id != contents.header["layout_id"]:
        raise UserError(
            f"this generator was trained for the UV layout {contents.header['layout_id']}; the head {head.edition} "
            f"has {layout.layout_id}.",
            where=path,
            hint="It belongs to another version of this program; train it again, or use that version.",
        )
    generator = Generator(config, head, layout)
    load_weights(generator, contents)
    return generator.eval()


def _check_amount(contents: Contents, config: GeneratorConfig) -> None:
    """Refuse a configuration of more weights than the file holds, before memory is reserved for them."""
    pairs = [*pairwise(config.unet_widths), *pairwise(config.encoder_widths if config.encoder == "compact" else ())]
    least = sum(9 * one * other for one, other in pairs) + config.style_channels * config.code_channels
    held = sum(math.prod(entry.shape) for entry in contents.entries.values())
    if held < least:
        raise UserError(
            f"this file holds {held:,} weights; a generator of its configuration has at least {least:,}.",
            where=contents.path,
            hint="Copy or download it again.",
        )


def ready_generator(path: str | os.PathLike[str] | None, head: Head) -> Generator:
    """`load_generator`; but the package's own, for the open head, is read once, so it is nobody's to change."""
    shipped = shipped_generator()
    if path is not None or shipped is None or head is not load_open_head():
        return load_generator(path, head)
    return _read_once(shipped)


@lru_cache(maxsize=1)
def _read_once(path: Path) -> Generator:
    return load_generator(path).requires_grad_(False)


def load_weights(generator: Generator, contents: Contents) -> None:
    """Copy a file's weights into a generator of the same configuration.

    Raises:
        UserError: A weight is missing, superfluous, misshapen or not finite.
    """
    expected = own_weights(generator)
    for name in sorted(expected.keys() | contents.entries.keys()):
        if name not in contents.entries:
            raise UserError(f"the weight '{name}' is missing.", where=contents.path)
        if name not in expected:
            raise UserError(f"the weight '{name}' has no place in this generator.", where=contents.path)
        found, wanted = contents.entries[name].shape, tuple(expected[name].shape)
        if found != wanted:
            raise UserError(f"the weight '{name}' has shape {found}; expected {wanted}.", where=contents.path)
    # One at a time: together they are as large as the generator itself.
    with torch.no_grad():
        for name, value in expected.items():
            read = read_tensors(contents.file, [name])[name].to(value.dtype)
            if not bool(torch.isfinite(read).all()):
                raise UserError(f"the weight '{name}' holds NaN or infinite values.", where=contents.path)
            value.copy_(read)
