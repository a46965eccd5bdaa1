"""Posed Gaussians as the .ply file that 3D Gaussian splatting viewers read (Kerbl et al. 2023's layout)."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.files import write_atomically
from spatialavatar.splat.gaussians import WorldGaussians

DC_BASIS = 0.28209479177387814
"""The constant spherical harmonic, 1 / (2 sqrt(pi)): color = 0.5 + DC_BASIS * f_dc."""

_COLUMNS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


def write_ply(gaussians: WorldGaussians, path: str | os.PathLike[str]) -> None:
    """Write Gaussians, whole or not at all. Viewers show one frozen pose: avatars move in `.avatar` files only.

    Raises:
        UserError: They have other than three colour channels, or the file cannot be written.
    """
    if gaussians.colors.shape[1] != 3:
        raise UserError(f"a .ply holds three colour channels, not {gaussians.colors.shape[1]}.", where=path)
    with torch.no_grad():
        columns = [
            gaussians.positions,
            torch.zeros_like(gaussians.positions),
            (gaussians.colors - 0.5) / DC_BASIS,
            torch.logit(gaussians.opacities, eps=1e-6)[:, None],
            gaussians.scales.clamp_min(1e-12).log(),
            torch.nn.functional.normalize(gaussians.quaternions_wxyz, dim=-1),
        ]
        table = torch.cat(columns, -1).float().cpu().numpy().astype("<f4")
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    lines += [*(f"property float {name}" for name in _COLUMNS), "end_header"]
    with write_atomically(path) as temporary:
        temporary.write_bytes("\n".join(lines).encode() + b"\n" + table.tobytes())


def read_ply(path: str | os.PathLike[str]) -> WorldGaussians:
    """Read such a file; colours beyond the constant one are left out.

    Raises:
        UserError: It is no such file.
    """
    with open(path, "rb") as file:
        content = file.read()
    head, end, body = content.partition(b"end_header\n")
    lines = head.decode("ascii", "replace").split("\n")
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    counts = [int(line.split()[2]) for line in lines if line.startswith("element vertex ")]
    if not end or lines[0] != "ply" or "format binary_little_endian 1.0" not in lines or len(counts) != 1:
        raise UserError("this is not a binary .ply file.", where=path)
    missing = [name for name in _COLUMNS if name not in names and not name.startswith("n")]
    if missing or len(body) < counts[0] * len(names) * 4:
        what = f"the property '{missing[0]}' is missing." if missing else "this file is cut short."
        raise UserError(what, where=path)
    values = np.frombuffer(body, "<f4", counts[0] * len(names)).reshape(counts[0], len(names))

    def columns(*wanted: str) -> torch.Tensor:
        chosen: NDArray[np.float32] = values[:, [names.index(name) for name in wanted]]
        return torch.from_numpy(chosen.copy())

    return WorldGaussians(
        positions=columns("x", "y", "z"),
        quaternions_wxyz=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        scales=columns("scale_0", "scale_1", "scale_2").exp(),
        opacities=columns("opacity")[:, 0].sigmoid(),
        colors=columns("f_dc_0", "f_dc_1", "f_dc_2") * DC_BASIS + 0.5,
    )
