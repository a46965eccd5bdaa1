"""The light a made-up person stands in: a soft surrounding and a few lamps, and how much of each reaches a place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spatialavatar.synth.chance import stream
from spatialavatar.synth.raster import Mesh, Target

Values = NDArray[np.float32]

DIRECTIONS = 72
_MAP = 144
_HALF_SIDE = 0.30  # metres from the middle of the head to the edge of the depth map
_CENTRE = np.array([0.0, -0.04, -0.04])

# Where the main lamp may stand, degrees to the side of the camera. Training leaves out the bands that held-out
# lights are drawn from.
_TRAIN_SIDES = ((-80.0, -48.0), (-30.0, 30.0), (48.0, 80.0))
_HELD_OUT_SIDES = ((-48.0, -30.0), (30.0, 48.0))
# Temperature of lamps, 0 blue to 1 orange.
_TRAIN_WARMTH = ((0.0, 0.38), (0.55, 0.8))
_HELD_OUT_WARMTH = ((0.38, 0.55), (0.8, 1.0))


@dataclass(frozen=True)
class Lamp:
    """A light from one direction, as seen from the person: a lamp, a window, the sun.

    direction: (3,) unit, towards it, in the world. color: (3,) irradiance on a surface that faces it.
    softness: 0 a point, 1 a large window: how far shadows and highlights are spread.
    """

    direction: Values
    color: Values
    softness: float


@dataclass(frozen=True)
class Light:
    """zenith, horizon, ground (3,): radiance from above, around and below, linear in height between; lamps."""

    zenith: Values
    horizon: Values
    ground: Values
    lamps: tuple[Lamp, ...]

    def surrounding(self, directions: Values) -> Values:
        """(N, 3) radiance from directions (N, 3), without the lamps."""
        height = directions[:, 1:2]
        above = self.horizon + (self.zenith - self.horizon) * np.clip(height, 0, 1)
        return np.where(height > 0, above, self.horizon + (self.ground - self.horizon) * np.clip(-height, 0, 1)).astype(
            np.float32
        )


def sample_light(*seed: int | str, held_out: bool = False) -> Light:
    """A light. Held-out ones come from directions and colours that no other one has."""
    random = stream(*seed, "light")
    sides, warmths = (_HELD_OUT_SIDES, _HELD_OUT_WARMTH) if held_out else (_TRAIN_SIDES, _TRAIN_WARMTH)
    share = float(random.beta(2.2, 1.8)) * 0.8 + 0.05  # of the lamps in all light
    main = _lamp(
        _within(random, sides), random.uniform(5, 60), _color(_within(random, warmths)), float(random.beta(2, 2))
    )
    lamps = [(main, 1.0)]
    if random.random() < 0.45:  # the other side, weaker
        side = -math.copysign(random.uniform(25, 110), _side_of(main))
        fill = _lamp(side, random.uniform(-10, 45), _color(random.random()), float(random.uniform(0.4, 1)))
        lamps.append((fill, float(random.uniform(0.1, 0.55))))
    if random.random() < 0.3:  # from behind
        side = float(random.choice([-1, 1]) * random.uniform(120, 165))
        rim = _lamp(side, random.uniform(10, 55), _color(random.random()), float(random.uniform(0.1, 0.6)))
        lamps.append((rim, float(random.uniform(0.4, 1.2))))
    surrounding = np.stack(
        [_color(random.random()) * random.uniform(*r) for r in ((0.7, 1.6), (0.5, 1.1), (0.15, 0.7))]
    )
    # A wall in front of the person gets about this much from the surrounding and from the lamps.
    around = float(surrounding.mean() * 0.9)
    ahead = sum(weight * max(float(lamp.direction[2]), 0.15) for lamp, weight in lamps)
    exposure = float(random.uniform(0.8, 1.25))
    surrounding = surrounding * exposure * (1 - share) / around
    scaled = tuple(
        Lamp(lamp.direction, (lamp.color * weight * exposure * share * 1.25 / max(ahead, 0.35)).astype(np.float32), s)
        for lamp, weight, s in ((lamp, weight, lamp.softness) for lamp, weight in lamps)
    )
    zenith, horizon, ground = surrounding.astype(np.float32)
    return Light(zenith, horizon, ground, scaled)


def _within(random: np.random.Generator, ranges: tuple[tuple[float, float], ...]) -> float:
    lengths = np.array([b - a for a, b in ranges])
    a, b = ranges[int(random.choice(len(ranges), p=lengths / lengths.sum()))]
    return float(random.uniform(a, b))


def _color(warmth: float) -> Values:
    """Mean 1; from the blue of the sky to the orange of a bulb."""
    color = np.array([0.86 + 0.34 * warmth, 1.0, 1.16 - 0.42 * warmth])
    return (color / color.mean()).astype(np.float32)


def _lamp(side: float, height: float, color: Values, softness: float) -> Lamp:
    a, b = math.radians(side), math.radians(height)
    direction = np.array([math.sin(a) * math.cos(b), math.sin(b), math.cos(a) * math.cos(b)], np.float32)
    return Lamp(direction, color, softness)


def _side_of(lamp: Lamp) -> float:
    return math.atan2(float(lamp.direction[0]), float(lamp.direction[2]))


@lru_cache(maxsize=1)
def directions() -> Values:
    """(D, 3) unit directions spread evenly over the sphere (a Fibonacci spiral)."""
    k = np.arange(DIRECTIONS) + 0.5
    height = 1 - 2 * k / DIRECTIONS
    around = np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - height**2)
    return np.stack([np.cos(around) * radius, height, np.sin(around) * radius], 1).astype(np.float32)


def lamp_weights(lamp_direction: Values, softness: float) -> Values:
    """(D,) how much of a lamp comes from each direction; sums to 1. `lamp_direction` in the frame of `directions`."""
    # The directions lie about 0.4 apart, so that even a small lamp is spread over a few.
    spread = 14 - 9 * softness
    weights = np.exp(spread * (directions() @ lamp_direction - 1))
    return (weights / weights.sum()).astype(np.float32)


def visibility(
    meshes: list[tuple[Values, NDArray[np.int32]]],
    ribbons: list[tuple[Values, Values]],
    receivers: list[tuple[Values, float, float]],
) -> list[Values]:
    """How much of each direction's light reaches some points.

    Args:
        meshes: What throws shadows: points (V, 3) and faces (F, 3).
        ribbons: Strands that do too: points (S, P, 3) and widths (S, P).
        receivers: Points (N, 3); how far in metres a surface must lie in front to shadow them; over how many metres
            more the shadow deepens (hair lets light through).

    Returns:
        For each receiver (N, D) in [0, 1].
    """
    results = [np.ones((len(points), DIRECTIONS), np.float32) for points, _, _ in receivers]
    for index, direction in enumerate(directions()):
        right, up = _across(direction)

        def seen(points: Values, right: Values = right, up: Values = up, direction: Values = direction) -> Values:
            offset = points - _CENTRE
            scale = _MAP / (2 * _HALF_SIDE)
            plane = (offset @ right * scale + _MAP / 2, offset @ up * scale + _MAP / 2, offset @ direction)
            return np.stack(plane, -1).astype(np.float32)

        target = Target(_MAP, _MAP, perspective=False)
        for points, faces in meshes:
            target.draw(Mesh(seen(points), faces))
        for points, width in ribbons:
            target.draw(ribbon_mesh(seen(points), width * (_MAP / (2 * _HALF_SIDE)), least=0.5))
        for (points, gap, depth), result in zip(receivers, results, strict=True):
            at = seen(points)
            cell = np.clip(at[:, :2].astype(np.int64), 0, _MAP - 1)
            front = target.nearness[cell[:, 1], cell[:, 0]] - at[:, 2]
            result[:, index] = np.exp(-np.clip(front - gap, 0, 0.5) / depth)
    return results


def _across(direction: Values) -> tuple[Values, Values]:
    helper = np.array([0, 1, 0], np.float32) if abs(direction[1]) < 0.9 else np.array([1, 0, 0], np.float32)
    right = np.cross(helper, direction)
    right /= np.linalg.norm(right)
    return right.astype(np.float32), np.cross(direction, right).astype(np.float32)


def ribbon_mesh(points: Values, width: Values, least: float) -> Mesh:
    """Strands as flat ribbons that face the eye.

    Args:
        points: (S, P, 3) x, y in samples and nearness.
        width: (S, P) in samples.
        least: The narrowest ribbon, in samples: a thinner one would fall between them.

    Returns:
        2 S P points: those of the left edge, then those of the right.
    """
    tangent = np.empty_like(points[..., :2])
    tangent[:, 1:-1] = points[:, 2:, :2] - points[:, :-2, :2]
    tangent[:, 0] = points[:, 1, :2] - points[:, 0, :2]
    tangent[:, -1] = points[:, -1, :2] - points[:, -2, :2]
    half = np.maximum(width, least) * 0.5 / (np.sqrt((tangent**2).sum(-1)) + 1e-6)
    side = np.stack([-tangent[..., 1] * half, tangent[..., 0] * half], -1)
    left, right = points.copy(), points.copy()
    left[..., :2] += side
    right[..., :2] -= side
    return Mesh(np.concatenate([left.reshape(-1, 3), right.reshape(-1, 3)]), ribbon_faces(*points.shape[:2]))


@lru_cache(maxsize=8)
def ribbon_faces(strands: int, steps: int) -> NDArray[np.int32]:
    """Triangles of `ribbon_mesh`."""
    start = (np.arange(strands)[:, None] * steps + np.arange(steps - 1)).reshape(-1)
    other = start + strands * steps
    faces = np.stack([start, other, start + 1, start + 1, other, other + 1], 1).reshape(-1, 3)
    return faces.astype(np.int32)
