"""Thin curves on a person: what hair, beards and the frames of glasses are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Strands:
    """S strands of P points, on the person at rest. Metres.

    points: (S, P, 3), from root to tip.
    width: (S, P) of the ribbon.
    color: (S, P, 3) linear albedo.
    face: (S,) triangle of the head that the root sits in; barycentric: (S, 3) where on it.
    on_skull: (S,) bool: the strand moves with the skull; otherwise with its triangle (a beard).
    """

    points: Values
    width: Values
    color: Values
    face: NDArray[np.int64]
    barycentric: Values
    on_skull: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Body:
    """The person's mesh at rest, to grow on and to stay outside of.

    vertices (V, 3) metres; template (V, 3) the same vertices of the mean head; faces (F, 3) of the skin.
    """

    vertices: Values
    template: Values
    faces: NDArray[np.int32]
    face_index: NDArray[np.int64]
    """(F,) number of each face in the whole head."""


def join_strands(parts: list[Strands]) -> Strands:
    """All strands of several parts, with as many points as the longest has."""
    longest = max(part.points.shape[1] for part in parts)
    parts = [_resampled(part, longest) for part in parts]
    names = ("points", "width", "color", "face", "barycentric", "on_skull")
    return Strands(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _resampled(strands: Strands, steps: int) -> Strands:
    """The same curves with `steps` points."""
    have = strands.points.shape[1]
    if have == steps:
        return strands
    at = np.linspace(0, have - 1, steps)
    low = np.minimum(at.astype(np.int64), have - 2)
    part = (at - low).astype(np.float32)

    def between(values: Values) -> Values:
        weight = part.reshape((1, -1) + (1,) * (values.ndim - 2))
        return values[:, low] * (1 - weight) + values[:, low + 1] * weight

    return Strands(
        between(strands.points),
        between(strands.width),
        between(strands.color),
        strands.face,
        strands.barycentric,
        strands.on_skull,
    )
