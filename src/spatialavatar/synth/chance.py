"""Chance that is the same everywhere: every random number hangs on the set's seed and on what it is for."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spatialavatar.random_streams import stream as stream


def tamed(random: np.random.Generator, count: int, limit: float = 1.6) -> NDArray[np.float64]:
    """(count,) standard normal numbers, those beyond +-limit drawn again."""
    values = random.standard_normal(count)
    while (far := np.abs(values) > limit).any():
        values[far] = random.standard_normal(int(far.sum()))
    return values


def choose(random: np.random.Generator, weights: dict[str, float]) -> str:
    """A key, with chances in proportion to the values."""
    names = list(weights)
    chances = np.array([weights[name] for name in names])
    return names[int(random.choice(len(names), p=chances / chances.sum()))]


_CELLS = 32
_ROW, _SLICE = _CELLS + 1, (_CELLS + 1) ** 2


@lru_cache(maxsize=1)
def _lattice() -> NDArray[np.float32]:
    """(33 ** 3,) random numbers on a cube of lattice points, its far sides the same as its near ones."""
    values = np.random.default_rng(20231).random((_CELLS, _CELLS, _CELLS)).astype(np.float32) - np.float32(0.5)
    return np.pad(values, (0, 1), mode="wrap").reshape(-1)


def noise(points: NDArray[np.floating], scale: float, seed: int, octaves: int = 1) -> NDArray[np.float32]:
    """Smooth random numbers about 0, of standard deviation about 1.

    Args:
        points: (..., 3) places.
        scale: Size of the bumps, in the places' unit.
        seed: Another seed, another noise.
        octaves: How often bumps of half the size and half the height are added.
    """
    lattice = _lattice()
    shift = np.random.default_rng(seed).random(3) * _CELLS
    x, y, z = (np.ascontiguousarray(points[..., axis], np.float32) for axis in range(3))
    total, norm = np.zeros(x.shape, np.float32), 0.0
    for octave in range(octaves):
        base = np.zeros(x.shape, np.int32)
        parts = []
        for axis, values in enumerate((x, y, z)):
            at = values * np.float32(2.0**octave / scale) + np.float32(shift[axis] * (octave + 1))
            cell = np.floor(at)
            part = at - cell
            parts.append(part * part * (3 - 2 * part))
            base = base * _ROW + (cell.astype(np.int32) & (_CELLS - 1))
        along_x, along_y, along_z = parts

        def row(
            offset: int, base: NDArray[np.int32] = base, part: NDArray[np.float32] = along_z
        ) -> NDArray[np.float32]:
            low = lattice[base + offset]
            return low + part * (lattice[base + (offset + 1)] - low)

        near, far = (low + along_y * (row(first + _ROW) - low) for first in (0, _SLICE) for low in [row(first)])
        total += (near + along_x * (far - near)) * np.float32(0.5**octave)
        norm += 0.25**octave
    return total / np.float32(0.17 * np.sqrt(norm))
