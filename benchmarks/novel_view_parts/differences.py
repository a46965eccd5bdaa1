"""Whether two results of the benchmark differ by more than their noise, band by band.

The test: cells of one person, input, seed, mode and band belong together, since frame order, backgrounds and side
views come from the same random streams. Their differences are averaged over seeds for each person, and the mean over
people is held against Student's t with one degree of freedom fewer than people, two-sided, 95 %. A difference is above
the noise if that test says so and it is also larger than twice what other seeds alone would make of it, where several
were run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from .cells import KEYS, Cell, mean_over_people, noise_of_mean

CONFIDENCE = 0.95
SEED_SIGMAS = 2.0
"""Standard deviations of the seeds' noise beyond which a difference counts."""


@dataclass(frozen=True)
class Difference:
    """B less A in one figure of one band.

    Attributes:
        mean: Over people.
        half_width: Of the 95 % interval over people; NaN for one person.
        seed_noise: Standard deviation of `mean` over seeds; NaN with one seed.
        people, pairs: How many.
        better: In how many people B is higher.
    """

    input: str
    mode: str
    band: str
    figure: str
    first: float
    second: float
    mean: float
    half_width: float
    seed_noise: float
    people: int
    pairs: int
    better: int

    @property
    def above_noise(self) -> bool | None:
        """None where nothing can be said: one person, and one seed."""
        known = [
            abs(self.mean) > limit
            for limit in (self.half_width, SEED_SIGMAS * self.seed_noise)
            if not math.isnan(limit)
        ]
        return all(known) if known else None


def differences(first: Sequence[Cell], second: Sequence[Cell], figure: str = "psnr") -> list[Difference]:
    """B less A, for every input, mode and band that both have, in the order of A."""
    others = {_key(cell): cell for cell in second}
    groups: dict[tuple[str, str, str], dict[str, list[tuple[float, float]]]] = {}
    for cell in first:
        other = others.get(_key(cell))
        if other is None or figure not in cell or figure not in other:
            continue
        group = groups.setdefault((cell["input"], cell["mode"], cell["band"]), {})
        group.setdefault(cell["person"], []).append((cell[figure], other[figure]))
    return [_difference(name, people, figure) for name, people in groups.items()]


def _key(cell: Cell) -> tuple[Any, ...]:
    return tuple(cell[key] for key in KEYS)


def _difference(name: tuple[str, str, str], people: dict[str, list[tuple[float, float]]], figure: str) -> Difference:
    apart = {person: [b - a for a, b in pairs] for person, pairs in people.items()}
    means = np.array([np.mean(each) for each in apart.values()])
    count = len(means)
    half = math.nan
    if count > 1:
        spread = float(means.std(ddof=1)) / math.sqrt(count)
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * spread
    return Difference(
        *name,
        figure,
        first=mean_over_people({person: [a for a, _ in pairs] for person, pairs in people.items()}),
        second=mean_over_people({person: [b for _, b in pairs] for person, pairs in people.items()}),
        mean=float(means.mean()),
        half_width=half,
        seed_noise=noise_of_mean(apart),
        people=count,
        pairs=sum(len(each) for each in apart.values()),
        better=int((means > 0).sum()),
    )
