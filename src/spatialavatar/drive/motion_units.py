"""Axis-angle rotations as other programs write them: radians, or degrees where that is certain."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.drive.plausible import FARTHEST_TURN, degrees_scale
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion

_ROTATIONS = ("global_rotation", "neck_rotation", "jaw_rotation", "eyes_rotation")


def in_radians(motions: Sequence[Motion], where: str | os.PathLike[str]) -> tuple[list[Motion], list[str]]:
    """Motions of one file whose rotations are radians.

    A rotation vector may be as long as a whole turn where a program counts on past half of one; longer ones are
    degrees, and then all of the file's are.

    Args:
        motions: All that the file holds: its frames and its rest.
        where: The file.

    Returns:
        The motions, and what is to be said.

    Raises:
        UserError: Angles are beyond a whole turn in degrees, too.
    """
    angles = {name: _angles(motions, name) for name in _ROTATIONS}
    scale = degrees_scale(angles, math.tau)
    largest = max(float(values.max()) for values in angles.values())
    notes: list[str] = []
    if largest > 360.0:
        name = max(angles, key=lambda key: float(angles[key].max()))
        raise UserError(
            f"{name} holds a rotation by {largest:.6g}; expected radians, or degrees up to 360.", where=where
        )
    if scale != 1.0:
        notes.append(f"its rotations reach {largest:.4g} and were taken as degrees.")
        motions = [
            replace(motion, **{name: getattr(motion, name) * scale for name in _ROTATIONS}) for motion in motions
        ]
    neck = float(angles["neck_rotation"].max()) * scale
    if neck > FARTHEST_TURN:
        notes.append(f"the neck turns by up to {math.degrees(neck):.0f} degrees, farther than one can.")
    return list(motions), notes


def _angles(motions: Sequence[Motion], name: str) -> NDArray[np.float64]:
    """Angles of all axis-angle vectors (T, 3) or (T, 6) of this name, one per vector."""
    vectors = torch.cat([getattr(motion, name).reshape(-1, 3) for motion in motions])
    return vectors.double().norm(dim=-1).numpy()
