"""Random numbers with a stream for each purpose, derived from one seed: what one purpose draws changes no other."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def stream(*names: int | str) -> np.random.Generator:
    """A generator for one purpose, such as `stream(seed, "train", 3, "hair")`: independent of all other streams, so
    that a new feature draws its numbers without changing those of the old ones."""
    return np.random.default_rng(_seed_sequence(names))


def torch_stream(*names: int | str) -> torch.Generator:
    """The same for torch, on the CPU."""
    (number,) = _seed_sequence(names).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(number))


def _seed_sequence(names: tuple[int | str, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence([zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names])
