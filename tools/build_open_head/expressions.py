"""The 52 expressions: MakeHuman's face units, made exactly symmetric and confined to where they belong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.build_open_head.makehuman import MakeHuman

FOLDER = "faceunits01/targets/faceunits"
# Below this length (decimetres) a displacement is the rounding of the face units' files.
NOISE = 1.2e-3


def read_expressions(
    makehuman: MakeHuman, read: Callable[[str, str], np.ndarray], mirror: np.ndarray, positions: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Read and clean the face units.

    Args:
        makehuman: The data.
        read: Gives the (N, 3) displacement of a target (folder, name).
        mirror: (N,) mirrored vertex.
        positions: (N, 3) base mesh, decimetres.

    Returns:
        52 names in alphabetical order and (52, N, 3) displacements, decimetres.
    """
    names = makehuman.target_names(FOLDER)
    raw = {name: read(FOLDER, name) for name in names}
    cleaned = []
    for name in names:
        twin = _twin(name)
        displacement = 0.5 * (raw[name] + raw[twin][mirror] * [-1, 1, 1])
        displacement = displacement * _extent(name, positions)[:, None]
        displacement[np.linalg.norm(displacement, axis=1) < NOISE] = 0
        cleaned.append(displacement)
    return names, np.stack(cleaned)


def _twin(name: str) -> str:
    """The same expression on the other side."""
    if name.endswith("Left"):
        return name[:-4] + "Right"
    if name.endswith("Right"):
        return name[:-5] + "Left"
    return name


def _extent(name: str, positions: np.ndarray) -> np.ndarray:
    """(N,) 0 where an expression has no business: some eye targets stray into the mouth and across the nose."""
    extent = np.ones(len(positions))
    if name.startswith(("eye", "brow")):
        # The nose's tip is at 6.95, the lower lids' lowest fold at 7.1.
        extent = np.clip((positions[:, 1] - 6.85) / 0.2, 0, 1)
        if name.startswith("eye"):
            side = positions[:, 0] if name.endswith("Left") else -positions[:, 0]
            extent = extent * np.clip((side + 0.05) / 0.1, 0, 1)
    return extent
