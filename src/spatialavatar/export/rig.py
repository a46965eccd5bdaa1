"""The rigged bundle: a folder with everything an engine needs to pose the avatar itself.

`head.glb` is the rigged mesh, `splats.bin` holds the Gaussians in the frames of its triangles, `rig.json` says where in
it each array lies and what it means, `README.md` says how to put them together (Eq. 1).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

import spatialavatar
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.light import BRIGHTEST, DARKEST
from spatialavatar.export.mesh import SplitMesh, mesh_glb, split_mesh
from spatialavatar.export.texture import bake_texture
from spatialavatar.files import new_folder_atomically, write_json
from spatialavatar.head.rig import JOINT_NAMES
from spatialavatar.products import check_replaceable_folder

FORMAT = "spatialavatar-rig"
VERSION = 1

_RESIDUAL = {
    "features": "C features f of each Gaussian",
    "hidden_weight": "W1 of the hidden layer",
    "hidden_bias": "b1",
    "film_weight": "W2 of scale and shift of the features, for position, rotation, log_scale, color",
    "film_bias": "b2",
    "weights": "W of the corrections, rows 0-2 position, 3-6 rotation (w first), 7-9 log_scale, 10-12 color",
    "biases": "b of the same rows",
}
_RESIDUAL_README = """
## What expressions change in single Gaussians

This avatar has a residual head: a small function of the motion that corrects the Gaussians, such as lips that darken
where they meet. The arrays hold the neutral expression; without this step the avatar still moves, a little stiffer.
Before step 2, for the condition c = expression weights, root, jaw, left eye, right eye (axis-angle, radians):

    h = silu(W1 c + b1)        m = W2 h + b2, as (4, 2, C): scale g and shift s for each of the four attributes
    r = W (f * (1 + g) + s) + b, for the rows of each attribute with its own g and s

Add r(c) - r(0) to positions, quaternions and colors, and multiply scales by exp(r(c) - r(0)). Then normalise the
quaternions and clamp the colors.
"""


_LIGHT_README = f"""
## Light

This avatar knows the light of its video, which stays where it is while the head turns. With the unit normal
a1 = (x, y, z) of step 2 and l = `light`:

    L = l0 x + l1 y + l2 z + l3 x y + l4 y z + l5 x z + l6 (x x - y y) + l7 (3 z z - 1)
    brightness = clamp(1 + L - light_at_rest, {DARKEST}, {BRIGHTEST})

Multiply each colour by the brightness of its triangle and clamp it to 0..1. Without this step colours stay as they are
in the resting pose of `rig.json`.
"""


def write_rig(
    avatar: Avatar, folder: str | os.PathLike[str], texture_size: int = 1024, *, overwrite: bool = False
) -> None:
    """Write the bundle, whole or not at all.

    Raises:
        UserError: The folder exists and `overwrite` is false, or it cannot be written.
    """
    mesh = split_mesh(avatar)
    glb = mesh_glb(avatar, mesh, bake_texture(avatar, texture_size))
    content, listing = _arrays(avatar, mesh)
    if overwrite:
        check_replaceable_folder(Path(folder), ())
    with new_folder_atomically(folder, overwrite=overwrite) as temporary:
        (temporary / "head.glb").write_bytes(glb)
        (temporary / "splats.bin").write_bytes(content)
        write_json(temporary / "rig.json", _header(avatar, listing))
        (temporary / "README.md").write_text(_readme(Path(folder).name, avatar, listing), encoding="utf-8")


@dataclass(frozen=True, eq=False)
class _Neutral:
    """The Gaussians of the neutral expression, before anything is normalised or clamped."""

    positions: Tensor
    quaternions_wxyz: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor


def _neutral(avatar: Avatar) -> _Neutral:
    with torch.no_grad():
        local = avatar.gaussians
        if avatar.residual is None:
            turns, colors = normalize(local.quaternions_wxyz, dim=-1), local.colors
            return _Neutral(local.positions, turns, local.log_scales.exp(), local.opacity_logits.sigmoid(), colors)
        # Kept as sums, so that an engine can exchange the neutral corrections for those of another expression.
        change = avatar.residual.corrections(avatar.head.neutral_motion().condition())
        return _Neutral(
            positions=local.positions + change["position"],
            quaternions_wxyz=local.quaternions_wxyz + change["rotation"],
            scales=(local.log_scales + change["log_scale"]).exp(),
            opacities=local.opacity_logits.sigmoid(),
            colors=local.colors + change["color"],
        )


def _arrays(avatar: Avatar, mesh: SplitMesh) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """The bytes of `splats.bin`, and name -> offset, dtype, shape and meaning of each array in it."""
    local = _neutral(avatar)
    triangles = mesh.textured_of_face[avatar.layout.triangles]
    entries: list[tuple[str, NDArray[Any], str]] = [
        ("triangles", triangles.numpy().astype("<u4"), "index of the triangle in the first primitive of head.glb"),
        ("positions", _floats(local.positions), "in the triangle's frame, units of the triangle's scale"),
        (
            "quaternions_xyzw",
            _floats(local.quaternions_wxyz[:, [1, 2, 3, 0]]),
            "rotation against the triangle's frame, w last" + (", to be normalised" if avatar.residual else ""),
        ),
        ("scales", _floats(local.scales), "standard deviations, units of the triangle's scale (linear)"),
        ("opacities", _floats(local.opacities), "0 to 1"),
        (
            "colors",
            _floats(local.colors),
            "red, green, blue, sRGB-encoded; blended as they are" + (", clamped to 0..1" if avatar.residual else ""),
        ),
    ]
    head = avatar.head
    if bool(head.rig.joint_expression_basis.abs().max() > 1e-9):
        meaning = "metres by which an expression at weight 1 moves each joint at rest; glTF's skin does not know this"
        entries.append(("joint_expression_offsets", _floats(head.rig.joint_expression_basis), meaning))
    if head.pose_correctives is not None:
        meaning = (
            "metres by which each entry of (rotation matrix - identity), joint by joint and row by row, moves each "
            f"vertex of head.glb before skinning; the joints from {len(JOINT_NAMES) - len(head.pose_correctives) // 9}"
        )
        entries.append(("pose_correctives", _floats(head.pose_correctives[:, mesh.vertex_of]), meaning))
    if avatar.residual is not None:
        entries += [
            (
                f"residual_{item.name}",
                _floats(getattr(avatar.residual, item.name)),
                f"residual head: {_RESIDUAL[item.name]}",
            )
            for item in fields(avatar.residual)
        ]
    if avatar.light is not None:
        at_rest = (avatar.resting_shades @ avatar.light)[avatar.layout.triangles]
        entries.append(("light", _floats(avatar.light), "light from every direction, see below"))
        entries.append(("light_at_rest", _floats(at_rest), "what of it falls on each Gaussian's triangle at rest"))
    content, listing = bytearray(), {}
    for name, values, meaning in entries:
        listing[name] = {
            "offset": len(content),
            "bytes": values.nbytes,
            "dtype": {"u": "uint32", "f": "float32"}[values.dtype.kind],
            "shape": list(values.shape),
            "meaning": meaning,
        }
        content += values.tobytes()
    return bytes(content), listing


def _header(avatar: Avatar, listing: dict[str, dict[str, Any]]) -> dict[str, Any]:
    head, rest = avatar.head, avatar.rest
    return {
        "format": FORMAT,
        "version": VERSION,
        "package": f"spatialavatar {spatialavatar.__version__}",
        "mesh": "head.glb",
        "splats": "splats.bin",
        "byte_order": "little",
        "gaussians": len(avatar),
        "head_edition": head.edition,
        "head_name": head.name,
        "axes": "x to the subject's left, y up, z out of the face; metres; right-handed",
        "expression_names": list(head.expression_names),
        "joint_names": list(JOINT_NAMES),
        "joint_parents": list(head.joint_parents),
        "joint_positions": avatar.prepared.joints.tolist(),
        "arrays": listing,
        "rest": {
            "meaning": "the pose in which it looks into its own camera: axis-angle in radians, metres",
            **{
                name: getattr(rest, name)[0].tolist()
                for name in ("global_rotation", "neck_rotation", "translation", "neck_translation")
            },
        },
        "provenance": dict(avatar.provenance),
    }


def _readme(name: str, avatar: Avatar, listing: dict[str, dict[str, Any]]) -> str:
    rows = "\n".join(
        f"| `{key}` | {entry['offset']} | {entry['dtype']} {tuple(entry['shape'])} | {entry['meaning']} |"
        for key, entry in listing.items()
    )
    return f"""# {name}

A head made with SpatialAvatar, for engines: {len(avatar):,} Gaussians bound to the triangles of a rigged mesh.

* `head.glb`: glTF 2.0. The mesh at rest, {avatar.head.num_expressions} expressions as morph targets, a skin of five
  joints ({", ".join(JOINT_NAMES)}), a baked texture. It can be used by itself.
* `splats.bin`: the Gaussians. Arrays one after the other, little-endian, no padding:

| array | offset | type and shape | meaning |
| --- | --- | --- | --- |
{rows}

* `rig.json`: the same offsets for programs, and names, joints, axes, the resting pose.

Axes: x to the subject's left, y up, z out of the face; right-handed, metres; triangles counter-clockwise from outside.

## One frame

1. Pose the mesh as glTF says: add the morph targets times their weights, then skin. Joints turn about their own
   places; the jaw opens by a positive turn about x.
2. For the triangle (v0, v1, v2) of each Gaussian, in the order of its indices:

       a0 = unit(v1 - v0)        a1 = unit(cross(v1 - v0, v2 - v0))        a2 = cross(a0, a1)
       R = [a0 a1 a2] as columns        center = (v0 + v1 + v2) / 3
       s = (|v1 - v0| + |dot(a2, v2 - v0)|) / 2

3. Its place, turn and size in the world:

       position = s R p + center        rotation = R q        scale = s * scales

4. Draw the Gaussians from back to front: alpha = opacity * exp(-d^T C^-1 d / 2) with C the projected covariance plus
   0.3 pixels squared on its diagonal, colours blended sRGB-encoded.

Mirror an axis for a left-handed engine in both files alike, after step 3.
{"" if avatar.residual is None else _RESIDUAL_README}{"" if avatar.light is None else _LIGHT_README}"""


def _floats(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().cpu().numpy(), "<f4")
