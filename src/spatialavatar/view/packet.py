"""The packet: everything a page needs to pose and draw one avatar, as one safetensors file.

An `.avatar` holds what makes a person; its head comes with the package. A browser has no package, so the packet joins
both: the head shaped for this identity, what moves it, and the Gaussians. Lengths are metres, indices count from 0.

| tensor | shape | type | meaning |
| --- | --- | --- | --- |
| `template` | (V, 3) | F32 | the head at rest, shaped for this identity |
| `joints` | (J, 3) | F32 | its joints |
| `joint_expressions` | (E, J, 3) | F32 | what an expression does to the joints |
| `expression.starts` | (E + 1,) | I32 | where each expression's rows begin |
| `expression.vertices` | (K,) | I32 | the vertex of a row |
| `expression.offsets` | (K, 3) | F16 | its displacement at weight 1, in `offset_unit` |
| `correctives` | (R, V, 3) | F16 | pose correctives in `offset_unit`; missing where the head has none |
| `weights.starts` | (V + 1,) | I32 | where each vertex' skinning weights begin |
| `weights.joints`, `weights.values` | (W,) | U8, F32 | the joint and the weight |
| `faces` | (F, 3) | I32 | |
| `triangles` | (N,) | I32 | triangle of each Gaussian |
| `gaussians.positions` | (N, 3) | F32 | as in the `.avatar` file, as all that follow |
| `gaussians.quaternions_wxyz` | (N, 4) | F16 | normalised, but under a residual head, which adds to them |
| `gaussians.log_scales` | (N, 3) | F16 | |
| `gaussians.opacity_logits` | (N,) | F16 | |
| `gaussians.colors` | (N, 3) | F16 | |
| `residual.features` | (N, C) | F16 | these and the rest of the residual head, where the avatar has one |
| `residual.hidden_weight` ... | | F32 | as in the `.avatar` file |
| `light` | (8,) | F32 | where the avatar has one |

Half precision keeps eleven bits: a Gaussian's size and colour to 0.05 %, an expression's displacement to some
micrometres. Positions stay whole, because a packet of a large triangle would otherwise move by a tenth of a pixel.
"""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.framing import head_centers
from spatialavatar.errors import UserError

FORMAT = "spatialavatar-page"
VERSION = 1
"""The page refuses other versions; page and packets come from the same package."""

MAX_VERTICES = 200_000
MAX_GAUSSIANS = 1_500_000

_OFFSET_UNIT = 0.01
"""Metres that 1 stands for in stored displacements: half precision has its finest steps below 1."""

_LEAST_OFFSET = 1e-7
"""Metres; a displacement below this is none."""


def avatar_packet(avatar: Avatar, name: str) -> bytes:
    """The packet of an avatar.

    Args:
        avatar: On any device.
        name: What the page calls it.

    Raises:
        UserError: It is too large for a browser, or its numbers are.
    """
    avatar = avatar.to("cpu")
    if len(avatar) > MAX_GAUSSIANS or avatar.head.num_vertices > MAX_VERTICES:
        raise UserError(
            f"this avatar has {len(avatar):,} Gaussians on {avatar.head.num_vertices:,} vertices; the viewer shows up "
            f"to {MAX_GAUSSIANS:,} on {MAX_VERTICES:,}.",
            where=name,
        )
    tensors = {**_head_tensors(avatar), **_gaussian_tensors(avatar)}
    broken = next(
        (key for key, value in tensors.items() if value.dtype.kind == "f" and not np.isfinite(value).all()), None
    )
    try:
        header = json.dumps(_header(avatar, name), allow_nan=False)
    except ValueError:
        broken = "camera or rest"
    if broken is not None:
        # Each number of the file is finite, and what follows from them is not.
        raise UserError(f"this avatar's {broken} is too large to be shown: it is damaged.", where=name)
    metadata = {"format": FORMAT, "version": str(VERSION), "header": header}
    return save({key: np.ascontiguousarray(value) for key, value in tensors.items()}, metadata)


def _header(avatar: Avatar, name: str) -> dict[str, object]:
    framing, rest = avatar.framing, avatar.rest
    keys = ("global_rotation", "neck_rotation", "jaw_rotation", "eyes_rotation", "translation", "neck_translation")
    return {
        "name": name,
        "head_edition": avatar.head.edition,
        "head_name": avatar.head.name,
        "gaussians": len(avatar),
        "expression_names": list(avatar.head.expression_names),
        "joint_parents": list(avatar.head.joint_parents),
        "offset_unit": _OFFSET_UNIT,
        "rest": {key: _rounded(getattr(rest, key)[0]) for key in ("expression", *keys)},
        "sight": _rounded(avatar.sight.flatten()),
        "center": _rounded(head_centers(avatar.head, avatar.identity, rest)[0]),
        "camera": {
            "camera_from_world": _rounded(framing.camera.camera_from_world.flatten()),
            "intrinsics": _rounded(framing.camera.intrinsics.flatten()),
            "width": framing.camera.width,
            "height": framing.camera.height,
        },
        "consent": str(avatar.provenance.get("consent") or ""),
    }


def _head_tensors(avatar: Avatar) -> dict[str, NDArray[np.generic]]:
    head, rig = avatar.head, avatar.head.rig
    starts, vertices, offsets = _sparse_rows(rig.expression_basis)
    entries = rig.skinning_weights > 0
    tensors: dict[str, NDArray[np.generic]] = {
        "template": _f32(avatar.prepared.shaped_template),
        "joints": _f32(avatar.prepared.joints),
        "joint_expressions": _f32(rig.joint_expression_basis),
        "expression.starts": starts,
        "expression.vertices": vertices,
        "expression.offsets": offsets,
        "weights.starts": _starts(entries.sum(1)),
        "weights.joints": entries.nonzero()[:, 1].numpy().astype(np.uint8),
        "weights.values": _f32(rig.skinning_weights[entries]),
        "faces": head.faces.numpy().astype(np.int32),
        "triangles": avatar.layout.triangles.numpy().astype(np.int32),
    }
    if rig.pose_correctives is not None:
        tensors["correctives"] = _f16(rig.pose_correctives / _OFFSET_UNIT)
    return tensors


def _gaussian_tensors(avatar: Avatar) -> dict[str, NDArray[np.generic]]:
    gaussians, residual = avatar.gaussians.detach(), avatar.residual
    quaternions = gaussians.quaternions_wxyz
    extra: dict[str, NDArray[np.generic]] = {}
    if residual is None:
        quaternions = torch.nn.functional.normalize(quaternions, dim=-1)
    else:
        extra = {f"residual.{item.name}": _f32(getattr(residual, item.name)) for item in fields(residual)}
        extra["residual.features"] = _f16(residual.features)
    if avatar.light is not None:
        extra["light"] = _f32(avatar.light)
    return {
        **extra,
        "gaussians.positions": _f32(gaussians.positions),
        "gaussians.quaternions_wxyz": _f16(quaternions),
        "gaussians.log_scales": _f16(gaussians.log_scales),
        "gaussians.opacity_logits": _f16(gaussians.opacity_logits),
        "gaussians.colors": _f16(gaussians.colors),
    }


def _sparse_rows(basis: Tensor) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float16]]:
    """(E, V, 3) as rows of (vertex, offset), expression by expression, without those that do not move."""
    moves = basis.abs().amax(-1) > _LEAST_OFFSET  # (E, V)
    return _starts(moves.sum(1)), moves.nonzero()[:, 1].numpy().astype(np.int32), _f16(basis[moves] / _OFFSET_UNIT)


def _starts(counts: Tensor) -> NDArray[np.int32]:
    return np.concatenate([[0], counts.cumsum(0).numpy()]).astype(np.int32)


def _f32(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().float().numpy()


def _f16(tensor: Tensor) -> NDArray[np.float16]:
    return tensor.detach().float().clamp(-65504, 65504).half().numpy()


def _rounded(tensor: Tensor) -> list[float]:
    return [float(f"{value:.9g}") for value in tensor.detach().double().tolist()]
