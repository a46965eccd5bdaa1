"""Chance that is the same everywhere: every random number hangs on the set's seed and on what it is for."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def stream(*names: int | str) -> np.random.Generator:
    """A generator for one purpose, such as `stream(seed, "train", 3, "hair")`: independent of all other streams, so
    that a new feature draws its numbers without changing those of the old ones."""
    words = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.default_rng(np.random.SeedSequence(words))


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


@lru_cache(maxsize=1)
def _lattice() -> NDArray[np.float32]:
    return np.random.default_rng(20231).random((32, 32, 32)).astype(np.float32)


def noise(points: NDArray[np.floating], scale: float, seed: int, octaves: int = 1) -> NDArray[np.float32]:
    """Smooth random numbers about 0, of standard deviation about 1.

    Args:
        points: (..., 3) places.
        scale: Size of the bumps, in the places' unit.
        seed: Another seed, another noise.
        octaves: How often bumps of half the size and half the height are added.
    """
    lattice = _lattice()
    shift = np.random.default_rng(seed).random(3) * 32
    total, norm = np.zeros(points.shape[:-1], np.float32), 0.0
    for octave in range(octaves):
        at = (points * (2.0**octave / scale) + shift * (octave + 1)).astype(np.float32)
        cell = np.floor(at).astype(np.int64)
        part = at - cell
        part = part * part * (3 - 2 * part)
        low, high = cell & 31, (cell + 1) & 31
        value = np.zeros(points.shape[:-1], np.float32)
        for corner in range(8):
            index, weight = [], np.float32(1)
            for axis in range(3):
                up = corner >> axis & 1
                index.append((high if up else low)[..., axis])
                weight = weight * (part[..., axis] if up else 1 - part[..., axis])
            value += weight * lattice[index[0], index[1], index[2]]
        total += (value - 0.5) * 0.5**octave
        norm += 0.25**octave
    return (total / (0.17 * np.sqrt(norm))).astype(np.float32)
