"""Who a made-up person is: everything that stays the same from frame to frame, drawn from one seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spatialavatar.synth.chance import choose, stream, tamed

# The first components are height and build; with the full spread every second person would be a giant or a dwarf.
_IDENTITY_SPREAD, _BUILD_SPREAD = 1.0, 0.7
_IDENTITIES = 80

HAIR_STYLES = ("bald", "buzz", "short", "side", "fringe", "bob", "long", "tied", "curly")
_MALE_STYLES = {"bald": 0.1, "buzz": 0.16, "short": 0.36, "side": 0.2, "fringe": 0.1, "long": 0.03, "curly": 0.06}
_FEMALE_STYLES = {"short": 0.06, "side": 0.06, "fringe": 0.06, "bob": 0.25, "long": 0.34, "tied": 0.2, "curly": 0.07}
# Linear albedo of hair.
HAIR_COLORS = {
    "black": (0.012, 0.010, 0.009),
    "dark brown": (0.035, 0.021, 0.013),
    "brown": (0.085, 0.047, 0.025),
    "light brown": (0.17, 0.10, 0.055),
    "blond": (0.38, 0.26, 0.13),
    "red": (0.20, 0.065, 0.022),
    "grey": (0.26, 0.25, 0.24),
    "white": (0.55, 0.54, 0.52),
}
IRIS_COLORS = {
    "dark brown": (0.030, 0.014, 0.007),
    "brown": (0.075, 0.034, 0.014),
    "hazel": (0.13, 0.085, 0.032),
    "green": (0.10, 0.13, 0.06),
    "blue": (0.10, 0.17, 0.27),
    "grey": (0.16, 0.19, 0.21),
}
GLASSES_COLORS = ((0.01, 0.01, 0.01), (0.06, 0.025, 0.012), (0.35, 0.34, 0.33), (0.4, 0.28, 0.1), (0.12, 0.02, 0.03))


@dataclass(frozen=True)
class Skin:
    """melanin 0 (palest) to 1 (darkest); blood 0 to 1; the rest are strengths of 0 to 1."""

    melanin: float
    blood: float
    yellow: float
    freckles: float
    blush: float
    blotches: float
    shadows: float
    """Rings under the eyes."""
    wrinkles: float
    shine: float


@dataclass(frozen=True)
class Hair:
    """Of the head. Lengths in metres; strengths 0 to 1."""

    style: str
    color: tuple[float, float, float]
    grey: float
    length: float
    volume: float
    wave: float
    curl: float
    parting: float
    """Where it parts, -1 (the subject's right) to 1."""
    receding: float


@dataclass(frozen=True)
class Face:
    """Brows, beard, eyes, mouth. Strengths 0 to 1, colours linear."""

    brow_color: tuple[float, float, float]
    brow_density: float
    brow_width: float
    stubble: float
    beard: str
    beard_length: float
    iris: tuple[float, float, float]
    pupil: float
    sclera: float
    lashes: float
    lips: tuple[float, float, float]
    lip_paint: float
    eye_shadow: tuple[float, float, float]
    eye_paint: float
    rouge: float
    teeth: float
    glasses: str
    """"none", "wire" or "frame"."""
    glasses_color: tuple[float, float, float]


@dataclass(frozen=True)
class Clothes:
    """kind: "round" (T-shirt), "v" (V-neck), "shirt" (collar), "jacket" (over a shirt), "high" (roll-neck)."""

    kind: str
    color: tuple[float, float, float]
    second: tuple[float, float, float]
    pattern: str
    depth: float
    """How low the neckline is, 0 to 1."""


@dataclass(frozen=True)
class Person:
    """One made-up person."""

    seed: tuple[int | str, ...]
    identity: tuple[float, ...]
    skin: Skin
    hair: Hair
    face: Face
    clothes: Clothes

    def summary(self) -> dict[str, Any]:
        """The traits, without the identity's numbers, for the record."""
        return {key: value for key, value in asdict(self).items() if key not in ("identity", "seed")}


def sample_person(*seed: int | str) -> Person:
    """The person of these words of seed."""
    random = stream(*seed, "person")
    feminine = random.random() < 0.5
    age = float(random.beta(1.4, 1.8))
    melanin = float(np.clip(random.beta(1.1, 1.5), 0.02, 0.97))
    identity = _IDENTITY_SPREAD * tamed(stream(*seed, "identity"), _IDENTITIES)
    identity[:2] *= _BUILD_SPREAD
    skin = _skin(random, melanin, age, feminine)
    hair = _hair(random, melanin, age, feminine)
    face = _face(random, skin, hair, age, feminine)
    return Person(
        tuple(seed), tuple(float(np.float32(v)) for v in identity), skin, hair, face, _clothes(random, feminine)
    )


def _skin(random: np.random.Generator, melanin: float, age: float, feminine: bool) -> Skin:
    freckled = random.random() < 0.3 * (1 - melanin) ** 2 + 0.03
    return Skin(
        melanin=melanin,
        blood=float(random.uniform(0.25, 0.85)),
        yellow=float(random.uniform(0, 1)),
        freckles=float(random.uniform(0.3, 1)) if freckled else float(random.uniform(0, 0.12)),
        blush=float(random.uniform(0.1, 0.9)),
        blotches=float(random.uniform(0.2, 1.0)),
        shadows=float(random.uniform(0.0, 0.6) + 0.4 * age * random.random()),
        wrinkles=float(age**1.5 * random.uniform(0.4, 1)),
        shine=float(random.uniform(0.2, 1.0)),
    )


def _hair(random: np.random.Generator, melanin: float, age: float, feminine: bool) -> Hair:
    style = choose(random, _FEMALE_STYLES if feminine else _MALE_STYLES)
    fair = (1 - melanin) ** 1.5
    weights = {
        "black": 0.3 + 2.0 * melanin,
        "dark brown": 0.6,
        "brown": 0.6 * fair,
        "light brown": 0.4 * fair,
        "blond": 0.45 * fair,
        "red": 0.12 * fair,
        "grey": 0.8 * age**2,
        "white": 0.45 * age**3,
    }
    base = np.array(HAIR_COLORS[choose(random, weights)]) * random.lognormal(0, 0.25, 3).mean()
    length = {
        "bald": (0.0, 0.0),
        "buzz": (0.003, 0.009),
        "short": (0.015, 0.045),
        "side": (0.04, 0.075),
        "fringe": (0.06, 0.11),
        "bob": (0.15, 0.21),
        "long": (0.24, 0.40),
        "tied": (0.12, 0.17),
        "curly": (0.025, 0.075),
    }[style]
    return Hair(
        style=style,
        color=(float(base[0]), float(base[1]), float(base[2])),
        grey=float(np.clip(random.normal(age - 0.5, 0.2), 0, 0.7)),
        length=float(random.uniform(*length)),
        volume=float(random.uniform(0.1, 1.0)),
        wave=float(random.beta(1.0, 1.6)),
        curl=float(random.uniform(0.5, 1)) if style == "curly" else float(random.beta(1, 4)) * 0.3,
        parting=float(random.choice([-1, 1]) * random.uniform(0.0, 0.75)),
        receding=float(age * random.uniform(0, 1)) if not feminine else 0.0,
    )


def _face(random: np.random.Generator, skin: Skin, hair: Hair, age: float, feminine: bool) -> Face:
    brow = np.array(hair.color) * random.uniform(0.35, 0.8) if max(hair.color) > 0.05 else np.array(hair.color)
    fair = (1 - skin.melanin) ** 1.5 if max(hair.color) > 0.03 else 0.12
    iris = choose(
        random,
        {"dark brown": 0.6 + skin.melanin, "brown": 0.5, "hazel": 0.4 * fair, "green": 0.3 * fair, "blue": 0.9 * fair}
        | {"grey": 0.3 * fair},
    )
    beard = "none"
    if not feminine:
        beard = choose(random, {"none": 0.5, "stubble": 0.2, "full": 0.14, "goatee": 0.08, "moustache": 0.08})
    painted = feminine and random.random() < 0.55
    lip_paint = np.array([random.uniform(0.25, 0.6), random.uniform(0.02, 0.14), random.uniform(0.03, 0.16)])
    shade = np.array([random.uniform(0.05, 0.3), random.uniform(0.03, 0.2), random.uniform(0.03, 0.25)])
    return Face(
        brow_color=(float(brow[0]), float(brow[1]), float(brow[2])),
        brow_density=float(random.uniform(0.45, 1.0)),
        brow_width=float(random.uniform(0.65, 1.0) if feminine else random.uniform(0.85, 1.3)),
        stubble=0.0 if feminine else float(random.uniform(0.1, 0.6)),
        beard=beard,
        beard_length=float(0.004 + 0.02 * random.beta(1, 2.2)),
        iris=IRIS_COLORS[iris],
        pupil=float(random.uniform(0.28, 0.5)),
        sclera=float(random.uniform(0.45, 0.68)),
        lashes=float(random.uniform(0.6, 1.0) if feminine else random.uniform(0.3, 0.75)),
        lips=(float(lip_paint[0]), float(lip_paint[1]), float(lip_paint[2])),
        lip_paint=float(random.uniform(0.4, 0.9)) if painted else 0.0,
        eye_shadow=(float(shade[0]), float(shade[1]), float(shade[2])),
        eye_paint=float(random.uniform(0.2, 0.8)) if painted else 0.0,
        rouge=float(random.uniform(0.2, 0.7)) if painted else 0.0,
        teeth=float(random.uniform(0.45, 0.8)),
        glasses=choose(random, {"none": 0.84, "wire": 0.07, "frame": 0.09}),
        glasses_color=GLASSES_COLORS[int(random.integers(len(GLASSES_COLORS)))],
    )


def _clothes(random: np.random.Generator, feminine: bool) -> Clothes:
    kind = choose(random, {"round": 0.4, "v": 0.15, "shirt": 0.15, "jacket": 0.2, "high": 0.1})

    def color() -> tuple[float, float, float]:
        if random.random() < 0.45:  # dark and grey cloth is what most people wear
            grey = float(random.choice([0.012, 0.03, 0.08, 0.25, 0.6]) * random.uniform(0.7, 1.3))
            tint = random.uniform(0.9, 1.1, 3)
            return (grey * float(tint[0]), grey * float(tint[1]), grey * float(tint[2]))
        hue, strength, value = random.random(), random.uniform(0.3, 0.9), random.lognormal(-1.9, 0.8)
        wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array([0, 1 / 3, 2 / 3])))
        mixed = np.clip(value * (1 - strength + strength * wheel), 0.004, 0.7)
        return (float(mixed[0]), float(mixed[1]), float(mixed[2]))

    second = (0.65, 0.65, 0.66) if kind == "jacket" and random.random() < 0.6 else color()
    pattern = choose(random, {"plain": 0.7, "stripes": 0.12, "checks": 0.08, "heather": 0.1})
    return Clothes(kind, color(), second, pattern, float(random.uniform(0, 1)))
