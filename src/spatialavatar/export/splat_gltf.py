"""Posed Gaussians as glTF 2.0 with KHR_gaussian_splatting, the Khronos Group's ratified extension.

A point cloud for programs that do not know it. By the specification: SCALE is linear, ROTATION a unit quaternion with w
last, OPACITY linear in [0, 1], SH_DEGREE_0_COEF_0 the constant spherical harmonic's coefficient, colour = 0.5 +
0.2820948 c in sRGB (`srgb_rec709_display`).
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch.nn.functional import normalize

from spatialavatar.errors import UserError
from spatialavatar.export.gltf import POINTS, GltfWriter
from spatialavatar.export.ply import DC_BASIS
from spatialavatar.files import write_atomically
from spatialavatar.splat.gaussians import WorldGaussians

EXTENSION = "KHR_gaussian_splatting"


def write_splat_glb(gaussians: WorldGaussians, path: str | os.PathLike[str], name: str = "avatar") -> None:
    """Write Gaussians as `.glb`, whole or not at all. Those that cannot be seen (opacity below 1/255) are left out.

    Raises:
        UserError: They have other than three colour channels, or the file cannot be written.
    """
    if gaussians.colors.shape[1] != 3:
        raise UserError(f"glTF's Gaussians have three colour channels, not {gaussians.colors.shape[1]}.", where=path)
    visible = gaussians.detach().to("cpu", torch.float32)
    visible = visible[visible.opacities >= 1 / 255]
    xyzw = normalize(visible.quaternions_wxyz, dim=-1)[:, [1, 2, 3, 0]]
    writer = GltfWriter()
    writer.use_extension(EXTENSION)

    def add(values: torch.Tensor, bounds: bool = False) -> int:
        return writer.add_accessor(np.ascontiguousarray(values.numpy()), bounds=bounds)

    attributes = {
        "POSITION": add(visible.positions, bounds=True),
        f"{EXTENSION}:ROTATION": add(xyzw),
        f"{EXTENSION}:SCALE": add(visible.scales),
        f"{EXTENSION}:OPACITY": add(visible.opacities.clamp(0, 1)),
        f"{EXTENSION}:SH_DEGREE_0_COEF_0": add((visible.colors - 0.5) / DC_BASIS),
        "COLOR_0": writer.add_accessor(_fallback_colors(visible), normalized=True),
    }
    extension = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    primitive = {"attributes": attributes, "mode": POINTS, "extensions": {EXTENSION: extension}}
    mesh = writer.add("meshes", {"name": name, "primitives": [primitive]})
    writer.scene([writer.add("nodes", {"name": name, "mesh": mesh})], name)
    with write_atomically(path) as temporary:
        temporary.write_bytes(writer.glb())


def _fallback_colors(gaussians: WorldGaussians) -> np.ndarray:
    """(N, 4) uint8: what a point cloud shows. glTF's vertex colours are linear, ours sRGB-encoded."""
    encoded = gaussians.colors.clamp(0, 1)
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    color = torch.cat([linear, gaussians.opacities.clamp(0, 1)[:, None]], -1)
    return (color * 255 + 0.5).to(torch.uint8).numpy()
