"""The rigged bundle: a folder with everything an engine needs to pose the avatar itself.

`head.glb` is the rigged mesh, `splats.bin` holds the Gaussians in the frames of its triangles, `rig.json` says where in
it each array lies and what it means, `README.md` says how to put them together (Eq. 1).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

import spatialavatar
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.export.mesh import SplitMesh, mesh_glb, split_mesh
from spatialavatar.export.texture import bake_texture
from spatialavatar.files import new_folder_atomically, write_json
from spatialavatar.head.rig import JOINT_NAMES

FORMAT = "spatialavatar-rig"
VERSION = 1


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
    with new_folder_atomically(folder, overwrite=overwrite) as temporary:
        (temporary / "head.glb").write_bytes(glb)
        (temporary / "splats.bin").write_bytes(content)
        write_json(temporary / "rig.json", _header(avatar, listing))
        (temporary / "README.md").write_text(_readme(Path(folder).name, avatar, listing), encoding="utf-8")


def neutral_gaussians(avatar: Avatar) -> LocalGaussians:
    """The Gaussians of the neutral expression: an avatar with a residual head has others for every expression."""
    with torch.no_grad():
        return avatar.local(avatar.head.neutral_motion()).detach()


def _arrays(avatar: Avatar, mesh: SplitMesh) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """The bytes of `splats.bin`, and name -> offset, dtype, shape and meaning of each array in it."""
    local = neutral_gaussians(avatar)
    triangles = mesh.textured_of_face[avatar.layout.triangles]
    entries: list[tuple[str, NDArray[Any], str]] = [
        ("triangles", triangles.numpy().astype("<u4"), "index of the triangle in the first primitive of head.glb"),
        ("positions", _floats(local.positions), "in the triangle's frame, units of the triangle's scale"),
        (
            "quaternions_xyzw",
            _floats(normalize(local.quaternions_wxyz, dim=-1)[:, [1, 2, 3, 0]]),
            "rotation against the triangle's frame, w last, unit length",
        ),
        ("scales", _floats(local.log_scales.exp()), "standard deviations, units of the triangle's scale (linear)"),
        ("opacities", _floats(local.opacity_logits.sigmoid()), "0 to 1"),
        ("colors", _floats(local.colors), "red, green, blue, sRGB-encoded, 0 to 1; blended as they are"),
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
"""


def _floats(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().cpu().numpy(), "<f4")
