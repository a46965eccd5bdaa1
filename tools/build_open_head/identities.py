"""The identity space: many random people made of MakeHuman's targets, and their principal components.

An artist's sliders are no statistics of people. Two things keep the samples human: sliders that belong together (left
and right, increase and decrease) are drawn as one number, and every number is a modest Gaussian.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np

from tools.build_open_head.makehuman import MakeHuman

SAMPLES = 1200
MACRO = "mpfb2/targets/macrodetails"
LOCAL = "mpfb2/targets"
FOLDERS = ("asym", "cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
ANCESTRIES = ("african", "asian", "caucasian")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
OPPOSITES = (
    ("incr", "decr"),
    ("up", "down"),
    ("in", "out"),
    ("forward", "backward"),
    ("convex", "concave"),
    ("compress", "uncompress"),
)
# Standard deviation of a slider, by folder. Sliders run to 1, where MakeHuman's artists put the extremes.
SPREAD = {"asym": 0.10, "ears": 0.22, "neck": 0.15, "head": 0.16}
DEFAULT_SPREAD = 0.22
LARGEST = 2.5
# Shapes no person has.
EXCLUDED = re.compile(r"ear-shape-(pointed|square|triangle)|asymm-(breast|trunk)|head-trans|eyes-trans")
# Share of a left-right slider that is not common to both sides.
ASYMMETRY = 0.12


def sample_identities(makehuman: MakeHuman, read: Callable[[str, str], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Draw random people.

    Args:
        makehuman: The data.
        read: Gives the (N, 3) displacement of a target (folder, name) on the asset's vertices.

    Returns:
        (N, 3) displacement of the average young adult from the base mesh, and (SAMPLES, N, 3) displacements.
    """
    macro_names, local_groups = _macro_targets(), _local_sliders(makehuman)
    local_names = [target for group in local_groups for side in group["sides"] for target in side if target]
    targets = [read(MACRO, name) for name in macro_names]
    targets += [read(f"{LOCAL}/{folder}", name) for folder, name in local_names]
    column = {name: index for index, name in enumerate([*macro_names, *local_names])}
    # Python's own generator gives the same numbers in every version.
    generator = random.Random(20240229)
    weights = np.zeros((SAMPLES, len(targets)))
    for row in weights:
        _draw_macro(generator, row, column)
        _draw_local(generator, row, column, local_groups)
    average = np.zeros(len(targets))
    _mix_macro(average, column, (1 / 3, 1 / 3, 1 / 3), 0.5, 0.12, 0.5, 0.5)
    stacked = np.stack(targets).reshape(len(targets), -1)
    return (average @ stacked).reshape(-1, 3), (weights @ stacked).reshape(SAMPLES, -1, 3)


def principal_components(
    samples: np.ndarray, mirror: np.ndarray, importance: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Principal components of a left-right symmetric population.

    Each sample stands for itself and its mirror image, so every component is either symmetric or antisymmetric and the
    covariance falls into two blocks.

    Args:
        samples: (S, N, 3).
        mirror: (N,) mirrored vertex.
        importance: (N,) weight of a vertex's squared error.
        count: Number of components.

    Returns:
        (N, 3) symmetric mean, (count, N, 3) displacements of one standard deviation, and the share of the weighted
        variance they explain.
    """
    mirrored = samples[:, mirror] * [-1, 1, 1]
    mean = (0.5 * (samples + mirrored)).mean(axis=0)
    found = []
    total = 0.0
    for sign in (1.0, -1.0):
        half = 0.5 * (samples + sign * mirrored)
        if sign > 0:
            half = half - mean
        flat = half.reshape(len(half), -1)
        scaled = (half * np.sqrt(importance)[None, :, None]).reshape(len(half), -1)
        values, vectors = np.linalg.eigh(scaled @ scaled.T)
        total += values.sum()
        for index in np.argsort(-values, kind="stable")[:count]:
            displacement = (vectors[:, index] @ flat / np.sqrt(len(half))).reshape(-1, 3)
            # The sign of an eigenvector is arbitrary: make the largest entry positive.
            largest = np.abs(np.round(displacement, 9)).argmax()
            found.append((values[index], displacement * np.sign(displacement.flat[largest])))
    found.sort(key=lambda item: -item[0])
    explained = sum(value for value, _ in found[:count]) / total
    return mean, np.stack([displacement for _, displacement in found[:count]]), float(explained)


def _macro_targets() -> list[str]:
    names = [f"{a}-{s}-{age}" for a in ANCESTRIES for s in ("female", "male") for age in ("young", "old")]
    bodies = [(s, age, m, w) for s in ("female", "male") for age in ("young", "old") for m in MUSCLES for w in WEIGHTS]
    return names + [f"universal-{'-'.join(body)}" for body in bodies]


def _mix_macro(row, column, ancestry, male, old, muscle, weight) -> None:
    """MakeHuman's products of sex, age, ancestry, muscle and weight, all in [0, 1]."""

    def three(value: float) -> tuple[float, float, float]:
        return max(0.0, 1 - 2 * value), 1 - abs(2 * value - 1), max(0.0, 2 * value - 1)

    for sex, sex_share in (("female", 1 - male), ("male", male)):
        for age, age_share in (("young", 1 - old), ("old", old)):
            share = sex_share * age_share
            for name, ancestry_share in zip(ANCESTRIES, ancestry, strict=True):
                row[column[f"{name}-{sex}-{age}"]] += share * ancestry_share
            for muscle_name, muscle_share in zip(MUSCLES, three(muscle), strict=True):
                for weight_name, weight_share in zip(WEIGHTS, three(weight), strict=True):
                    key = f"universal-{sex}-{age}-{muscle_name}-{weight_name}"
                    row[column[key]] += share * muscle_share * weight_share


def _draw_macro(generator: random.Random, row: np.ndarray, column: dict) -> None:
    gammas = [generator.gammavariate(0.6, 1) + 1e-6 for _ in ANCESTRIES]
    ancestry = [value / sum(gammas) for value in gammas]
    male = min(1.0, max(0.0, generator.choice((0.1, 0.9)) + generator.gauss(0, 0.12)))
    old = generator.betavariate(1.0, 2.0)
    muscle = min(1.0, max(0.0, generator.gauss(0.5, 0.2)))
    weight = min(1.0, max(0.0, generator.gauss(0.5, 0.22)))
    _mix_macro(row, column, ancestry, male, old, muscle, weight)


def _draw_local(generator: random.Random, row: np.ndarray, column: dict, groups: list[dict]) -> None:
    def bounded() -> float:
        return max(-LARGEST, min(LARGEST, generator.gauss(0, 1)))

    for group in groups:
        common = bounded()
        for positive, negative in group["sides"]:
            value = common if len(group["sides"]) == 1 else (1 - ASYMMETRY) * common + ASYMMETRY * bounded()
            value *= group["spread"]
            if value > 0:
                row[column[positive]] += value
            elif negative is not None:
                row[column[negative]] -= value


def _local_sliders(makehuman: MakeHuman) -> list[dict]:
    """Targets grouped into sliders: both directions of a slider and both sides of the face are one group.

    Each side is a pair ((folder, name) for positive values, the same for negative ones or None).
    """
    groups: dict[tuple[str, str], dict] = {}
    for folder in FOLDERS:
        names = [name for name in makehuman.target_names(f"{LOCAL}/{folder}") if not EXCLUDED.search(name)]
        taken: set[str] = set()
        for name in names:
            if name in taken:
                continue
            opposite = _opposite(name)
            taken |= {name, opposite} if opposite in names else {name}
            pair = ((folder, name), (folder, opposite) if opposite in names else None)
            key = (folder, re.sub(r"^[lr]-", "", name))
            group = groups.setdefault(key, {"sides": [], "spread": SPREAD.get(folder, DEFAULT_SPREAD)})
            group["sides"].append(pair)
    return list(groups.values())


def _opposite(name: str) -> str:
    if match := re.fullmatch(r"(asym-.*)-([lr])", name):
        return f"{match[1]}-{'r' if match[2] == 'l' else 'l'}"
    head, _, last = name.rpartition("-")
    for one, other in OPPOSITES:
        if last in (one, other):
            return f"{head}-{other if last == one else one}"
    return ""
