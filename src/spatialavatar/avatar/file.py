"""The `.avatar` file: one safetensors file with everything of a person's avatar (docs/avatar_file.md).

Self-contained for the open head, which is part of the package. For a head that may not be passed on (FLAME) it holds
no model data, only which edition it needs.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

import spatialavatar
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.container import (
    Contents,
    check_tensors,
    read_bytes,
    read_contents,
    read_tensors,
    write_contents,
)
from spatialavatar.avatar.framing import Framing
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.light import SHADES
from spatialavatar.avatar.residual import ATTRIBUTES, Residual
from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout, uv_area
from spatialavatar.input_files import is_whole
from spatialavatar.splat.camera import Camera
from spatialavatar.text import printable

FORMAT = "spatialavatar-avatar"
VERSION = 2
"""Raised when a program that reads only older versions would misread the file."""
PLAIN_VERSION = 1
"""Of files without a residual head, which programs of that version read rightly."""

LARGEST_RESOLUTION = 2048
"""Pixels along a side of the UV layout: 3.7 million Gaussians. `create` makes 128 to 256, the viewer shows 1300."""
LARGEST_PICTURE = 1 << 15
"""Pixels along a side of the avatar's own camera."""
_LEAST_SHARE = 0.25
"""Of the pixels that the head's triangles would cover if none overlapped, the least that a layout has."""

_GAUSSIANS = {"positions": (3,), "quaternions_wxyz": (4,), "log_scales": (3,), "opacity_logits": (), "colors": (3,)}
_REST = {
    "global_rotation": 3,
    "neck_rotation": 3,
    "jaw_rotation": 3,
    "eyes_rotation": 6,
    "translation": 3,
    "neck_translation": 3,
}
_RESIDUAL = tuple(item.name for item in fields(Residual))
_HALVES = ("residual.features",)
"""Kept as float16, to which generators round them."""


def save_avatar(avatar: Avatar, path: str | os.PathLike[str], *, preview_png: bytes | None = None) -> Path:
    """Write an avatar, whole or not at all; an existing file is replaced.

    Args:
        preview_png: A small picture of it, as PNG bytes.

    Raises:
        UserError: It cannot be written, or holds values that are not finite.
    """
    gaussians, framing = avatar.gaussians.detach(), avatar.framing
    tensors = {"identity": avatar.identity}
    tensors |= {f"gaussians.{name}": getattr(gaussians, name) for name in _GAUSSIANS}
    tensors |= {f"rest.{name}": getattr(framing.rest, name) for name in ("expression", *_REST)}
    tensors |= {
        "camera.camera_from_world": framing.camera.camera_from_world,
        "camera.intrinsics": framing.camera.intrinsics,
    }
    if avatar.residual is not None:
        tensors |= {f"residual.{name}": getattr(avatar.residual, name) for name in _RESIDUAL}
    if avatar.light is not None:
        tensors["light"] = avatar.light
    kinds = {name: torch.float16 if name in _HALVES else torch.float32 for name in tensors}
    tensors = {name: tensor.detach().to("cpu", kinds[name]) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"this avatar is not written: its '{name}' holds values that are NaN or infinite.", where=path
            )
    if preview_png is not None:
        tensors["preview_png"] = torch.frombuffer(bytearray(preview_png), dtype=torch.uint8)
    version = PLAIN_VERSION if avatar.residual is None else VERSION
    write_contents(path, format=FORMAT, version=version, header=_header(avatar), tensors=tensors)
    return Path(path)


def load_avatar(path: str | os.PathLike[str], head: Head | str | os.PathLike[str] | None = None) -> Avatar:
    """Read an avatar.

    Args:
        path: The file.
        head: The head it needs, or the head's file; not needed for the open head.

    Raises:
        UserError: What is wrong with the file, by key, or which head it needs.
    """
    contents = read_avatar_header(path)
    chosen = _head_for(contents, head)
    resolution = contents.header["resolution"]
    shapes = _shapes(contents, chosen)
    # Before the layout is built: that takes time and memory by the square of what the header says.
    check_tensors(contents, shapes, _HALVES)
    _check_count(contents, chosen)
    layout = build_uv_layout(chosen, resolution)
    if layout.layout_id != contents.header["layout_id"]:
        raise UserError(
            f"this avatar has the UV layout {printable(contents.header['layout_id'], 60)}; the head {chosen.edition} "
            f"has {layout.layout_id} at resolution {resolution}.",
            where=path,
            hint="It was made with another version of this head: make the avatar again from its source.",
        )
    if len(layout) != _count(contents):
        raise UserError(
            f"this avatar has {_count(contents):,} Gaussians; its UV layout has {len(layout):,}.",
            where=path,
            hint="The file is damaged; make it again.",
        )
    tensors = read_tensors(contents, shapes, _HALVES)
    has_residual = "residual.features" in tensors
    width, height = contents.header["camera_size"]
    return Avatar(
        head=chosen,
        layout=layout,
        identity=tensors["identity"],
        gaussians=LocalGaussians(**{name: tensors[f"gaussians.{name}"] for name in _GAUSSIANS}),
        provenance=contents.header["provenance"],
        given_framing=Framing(
            Motion(**{name: tensors[f"rest.{name}"] for name in ("expression", *_REST)}),
            Camera(tensors["camera.camera_from_world"], tensors["camera.intrinsics"], width, height),
        ),
        residual=Residual(**{name: tensors[f"residual.{name}"] for name in _RESIDUAL}) if has_residual else None,
        light=tensors.get("light"),
    )


def _count(contents: Contents) -> int:
    """How many Gaussians the file announces."""
    entry = contents.entries.get("gaussians.positions")
    return entry.shape[0] if entry is not None and entry.shape else 0


def _shapes(contents: Contents, head: Head) -> dict[str, tuple[int | None, ...]]:
    """What the tensors must look like, given the head and the number of Gaussians."""
    count = _count(contents)
    identity = contents.entries.get("identity")
    if identity is not None and identity.shape and identity.shape[0] > head.num_identities:
        raise UserError(
            f"the key 'identity' has {identity.shape[0]} coefficients; the head {head.edition} has "
            f"{head.num_identities}.",
            where=contents.path,
        )
    shapes: dict[str, tuple[int | None, ...]] = {"identity": (None,)}
    shapes |= {f"gaussians.{name}": (count, *rest) for name, rest in _GAUSSIANS.items()}
    shapes |= {f"rest.{name}": (1, width) for name, width in _REST.items()}
    shapes |= {"rest.expression": (1, head.num_expressions)}
    shapes |= {"camera.camera_from_world": (4, 4), "camera.intrinsics": (3, 3)}
    if "residual.features" in contents.entries:
        shapes |= _residual_shapes(contents, count, head.num_expressions + 12)
    if "light" in contents.entries:
        shapes["light"] = (SHADES,)
    return shapes


def _check_count(contents: Contents, head: Head) -> None:
    """Refuse a number of Gaussians that no UV layout of this resolution has.

    A triangle covers about as many pixel centres as it has area; islands that overlap share them.
    """
    count, resolution = _count(contents), contents.header["resolution"]
    pixels = resolution**2
    # Below 16 pixels a side rounding at the islands' edges decides.
    least = 0 if resolution < 16 else min(uv_area(head), 1.0) * pixels * _LEAST_SHARE
    announced = contents.header.get("gaussians", count)
    if not least <= count <= pixels or count == 0 or announced != count:
        raise UserError(
            f"this avatar has {count:,} Gaussians; its header says {announced} at a resolution of {resolution}.",
            where=contents.path,
            hint="The file is damaged; make it again.",
        )


def _residual_shapes(contents: Contents, count: int, condition: int) -> dict[str, tuple[int | None, ...]]:
    """What the residual head's tensors must look like, given the lengths that are free: channels and hidden width."""
    channels = (contents.entries["residual.features"].shape[1:] or (0,))[0]
    hidden = contents.entries.get("residual.hidden_bias")
    width = hidden.shape[0] if hidden is not None and hidden.shape else 0
    total, film = sum(ATTRIBUTES.values()), 2 * channels * len(ATTRIBUTES)
    shapes: dict[str, tuple[int | None, ...]] = {
        "features": (count, channels),
        "hidden_weight": (width, condition),
        "hidden_bias": (width,),
        "film_weight": (film, width),
        "film_bias": (film,),
        "weights": (total, channels),
        "biases": (total,),
    }
    return {f"residual.{name}": shape for name, shape in shapes.items()}


def read_avatar_header(path: str | os.PathLike[str]) -> Contents:
    """What an avatar says about itself, without reading its tensors or needing its head.

    Raises:
        UserError: It is no avatar, is truncated, is newer than this program, or its header is damaged.
    """
    contents = read_contents(path, format=FORMAT, newest=VERSION, what="an avatar")
    expected: Mapping[str, type] = {
        "layout_id": str,
        "head_edition": str,
        "head_name": str,
        "resolution": int,
        "expression_names": list,
        "camera_size": list,
        "provenance": dict,
    }
    for key, kind in expected.items():
        if not isinstance(contents.header.get(key), kind):
            found = contents.header.get(key)
            raise UserError(
                f"the header key '{key}' is {'missing' if found is None else type(found).__name__}; expected "
                f"{kind.__name__}.",
                where=path,
                hint="The file is damaged; make it again.",
            )
    names, size = contents.header["expression_names"], contents.header["camera_size"]
    if not all(isinstance(name, str) for name in names):
        raise UserError("the header key 'expression_names' must be a list of names.", where=path)
    if len(size) != 2 or not all(is_whole(side, 1, LARGEST_PICTURE) for side in size):
        raise UserError(
            f"the header key 'camera_size' is {printable(str(size), 60)}; expected two whole numbers of pixels, 1 to "
            f"{LARGEST_PICTURE}.",
            where=path,
        )
    if not is_whole(contents.header["resolution"], 1, LARGEST_RESOLUTION):
        raise UserError(
            f"the header key 'resolution' is {contents.header['resolution']}; expected 1 to {LARGEST_RESOLUTION}.",
            where=path,
        )
    return contents


def read_preview(path: str | os.PathLike[str]) -> bytes | None:
    """The preview picture inside an avatar, as PNG bytes; None where it has none."""
    return read_bytes(read_avatar_header(path), "preview_png")


def _header(avatar: Avatar) -> dict[str, Any]:
    camera = avatar.framing.camera
    return {
        "layout_id": avatar.layout.layout_id,
        "head_edition": avatar.head.edition,
        "head_name": avatar.head.name,
        "resolution": avatar.layout.resolution,
        "gaussians": len(avatar),
        "expression_names": list(avatar.head.expression_names),
        "camera_size": [camera.width, camera.height],
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "package": f"spatialavatar {spatialavatar.__version__}",
        "provenance": dict(avatar.provenance),
    }


def _head_for(contents: Contents, head: Head | str | os.PathLike[str] | None) -> Head:
    needed = contents.header["head_edition"]
    if head is None:
        chosen = load_open_head()
        hint = (
            "It was made with another version of the open head: make the avatar again from its source."
            if needed.startswith("open-head")
            else "Give that head's file with --head (in Python: load_avatar(path, head=...))."
        )
    else:
        from spatialavatar.head import load_head

        chosen = head if isinstance(head, Head) else load_head(head)
        hint = "Give the head it was made with, or make the avatar again with this one."
    if chosen.edition != needed:
        raise UserError(
            f"this avatar needs the head {printable(needed, 60)} ({printable(contents.header['head_name'], 60)}); "
            f"{'this program has' if head is None else 'the head given is'} {chosen.edition}.",
            where=contents.path,
            hint=hint,
        )
    return chosen
