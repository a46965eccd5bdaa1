"""Hair as strands: curves that grow from the scalp or the beard, comb, fall, part and curl, drawn as thin ribbons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spatialavatar.synth.canvas import beard_area, hairline
from spatialavatar.synth.chance import noise, stream
from spatialavatar.synth.glasses import bend_glasses
from spatialavatar.synth.person import Person
from spatialavatar.synth.raster import vertex_normals
from spatialavatar.synth.strands import Body, Strands, join_strands

Values = NDArray[np.float32]

_DOWN = np.array([0.0, -1.0, 0.0])
_CROWN = np.array([0.0, 0.112, -0.062])
_TIE_HIGH, _TIE_LOW = np.array([0.0, 0.075, -0.150]), np.array([0.0, -0.005, -0.158])


def grow_hair(person: Person, body: Body) -> Strands | None:
    """The person's hair, beard and glasses; None for one who has none of them."""
    parts = []
    if person.hair.style != "bald":
        parts.append(_scalp_hair(person, body))
        if person.hair.style == "tied":
            parts.append(_bun(person, parts[0], body))
    if person.face.beard not in ("none", "stubble"):
        parts.append(_beard(person, body))
    if person.face.glasses != "none":
        parts.append(bend_glasses(person, body))
    if not parts:
        return None
    return join_strands(parts)


@dataclass(frozen=True)
class _Roots:
    place: NDArray[np.float64]
    normal: NDArray[np.float64]
    template: NDArray[np.float64]
    face: NDArray[np.int64]
    barycentric: Values


def _roots(body: Body, density: Values, count: int, random: np.random.Generator) -> _Roots:
    """`count` places, spread over the surface in proportion to `density` (V,)."""
    corners = body.vertices[body.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chance = area * density[body.faces].mean(1)
    chosen = np.searchsorted(np.cumsum(chance / chance.sum()), random.random(count)).clip(0, len(chance) - 1)
    a, b = random.random((2, count))
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
    weights = np.stack([1 - a - b, a, b], 1)
    normals = vertex_normals(body.vertices, body.faces)
    faces = body.faces[chosen]
    return _Roots(
        place=np.einsum("nk,nkc->nc", weights, body.vertices[faces].astype(np.float64)),
        normal=_unit(np.einsum("nk,nkc->nc", weights, normals[faces].astype(np.float64))),
        template=np.einsum("nk,nkc->nc", weights, body.template[faces].astype(np.float64)) * 1000,
        face=body.face_index[chosen],
        barycentric=weights.astype(np.float32),
    )


# style: strands, points, ribbon width in mm, lift, comb strength, gravity
_GROWTH = {
    "buzz": (7000, 3, 1.0, 1.0, 0.5, 0.0),
    "short": (6500, 7, 1.3, 0.34, 0.9, 0.05),
    "side": (6000, 10, 1.3, 0.28, 1.0, 0.18),
    "fringe": (6000, 12, 1.3, 0.20, 1.0, 0.40),
    "bob": (6000, 16, 1.4, 0.14, 1.0, 0.60),
    "long": (6000, 22, 1.5, 0.14, 1.0, 0.60),
    "tied": (6000, 14, 1.3, 0.05, 1.0, 0.0),
    "curly": (6500, 16, 1.4, 0.8, 0.35, 0.10),
}


def _scalp_hair(person: Person, body: Body) -> Strands:
    hair, random = person.hair, stream(*person.seed, "hair")
    count, steps, width, lift, comb, gravity = _GROWTH[hair.style]
    seed = int(random.integers(2**31))
    template = body.template * 1000
    edge = hairline(template)[0] - 50 * hair.receding * np.clip((template[:, 1] - 62) / 40, 0, 1) * (
        template[:, 2] > -60
    )
    roots = _roots(body, np.clip((edge + 4) / 9, 0, 1), count, random)
    lift, gravity = lift * (0.5 + 0.9 * hair.volume), gravity * (1.2 - 0.4 * hair.volume)
    # At the sides and the back hair lies closer.
    high = np.clip((roots.template[:, 1] - 15) / 60, 0, 1)[:, None]
    close = 0.35 + 0.65 * high if hair.style in ("short", "side", "fringe", "curly") else np.ones_like(high)
    flow = _comb(person, roots, random)
    lengths = _lengths(person, roots, random)
    locks = np.stack([noise(roots.place, 0.018, seed + k) for k in range(3)], 1)
    strays = random.standard_normal((count, 3))
    direction = _unit(lift * close * roots.normal + comb * flow + 0.10 * locks + 0.06 * strays)
    tree, normals = cKDTree(body.vertices), vertex_normals(body.vertices, body.faces)
    points = np.empty((count, steps, 3))
    points[:, 0] = roots.place
    segment = lengths[:, None] / (steps - 1)
    phase = 6.28 * random.random(count) * 0.3 + 3 * locks[:, 0]
    clear = 0.002 + 0.010 * hair.volume * (0.3 + random.random(count)) * (0.15 if hair.style == "tied" else 1.0)
    for k in range(1, steps):
        along = k / (steps - 1)
        bend = np.stack([noise(points[:, k - 1], 0.05, seed + 7 + axis) for axis in range(3)], 1)
        turn = 0.035 * strays + (0.03 + 0.13 * hair.wave) * bend
        if hair.style == "tied":
            pull = _unit(_tie_point(hair.parting) - points[:, k - 1])
            direction = _unit(direction * 0.5 + 0.8 * pull + 0.3 * turn)
        else:
            free = _off_the_face(person, points[:, k - 1]) if hair.length > 0.04 else 0.0
            free = free + _along_the_neck(points[:, k - 1])
            direction = _unit(direction + gravity * _DOWN + turn + 0.12 * comb * flow * (1 - along) + free)
        step_vector = direction * segment
        if hair.curl > 0.05:
            swing = 6.28 * along * (2 + 3 * hair.curl) + phase
            side = _unit(np.cross(direction, [0.3, 0.2, 1.0]))
            other = np.cross(direction, side)
            step_vector = step_vector + 1.1 * hair.curl * segment * (
                np.cos(swing)[:, None] * side + np.sin(swing)[:, None] * other
            )
        points[:, k] = points[:, k - 1] + step_vector
        gap = clear * min(1.0, 2.5 * along)
        points[:, k], direction = _outside(points[:, k], direction, tree, normals, body, gap)
    if hair.style == "tied":
        _gather(points, hair.parting, random)
    taper = np.interp(np.linspace(0, 1, steps), [0, 0.7, 1], [1, 0.9, 0.25])
    ribbon = width / 1000 * taper * (0.7 + 0.6 * random.random(count))[:, None]
    return Strands(
        points.astype(np.float32),
        ribbon.astype(np.float32),
        _colors(person, roots.place, steps, random, seed),
        roots.face,
        roots.barycentric,
        np.ones(count, bool),
    )


def _off_the_face(person: Person, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, 3) a push aside and back for strands that hang before the face (below the fringe, where there is one)."""
    hair = person.hair
    top = 0.028 if hair.style == "fringe" or (hair.style == "bob" and hair.volume > 0.5) else 0.075
    x, y, z = points.T
    before = (
        np.clip((z + 0.005) / 0.02, 0, 1) * np.clip((0.074 - np.abs(x)) / 0.012, 0, 1) * np.clip((top - y) / 0.01, 0, 1)
    )
    side = np.where(x > 0.035 * hair.parting, 1.0, -1.0)
    return 1.6 * before[:, None] * np.stack([side, 0 * side, -0.55 + 0 * side], 1)


def _along_the_neck(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, 3) a pull inwards below the ears: falling hair closes round the neck, it does not ride on the shoulders."""
    x, y, _ = points.T
    below = np.clip((-0.01 - y) / 0.06, 0, 1) * np.clip((np.abs(x) - 0.062) / 0.02, 0, 1)
    return np.stack([-0.55 * np.sign(x) * below, 0 * x, 0 * x], 1)


def _comb(person: Person, roots: _Roots, random: np.random.Generator) -> NDArray[np.float64]:
    """(S, 3) the direction in which each strand is combed, along the surface."""
    hair, place = person.hair, roots.place
    away = place - _CROWN
    front = np.clip((place[:, 2] + 0.01) / 0.05, 0, 1)[:, None]
    line = 0.035 * hair.parting
    side = np.where(place[:, 0] > line, 1.0, -1.0)[:, None]
    if hair.style == "short":
        back = np.array([0.35 * hair.parting, 0.9, 0.2 - 1.2 * hair.volume])
        flow = away * 6 * (1 - 0.8 * front) + front * 1.5 * back
    elif hair.style == "side":
        flow = side * np.array([1.0, 0.0, 0.0]) + away * 4 + np.array([0, 0, -0.6]) * (0.3 + front)
    elif hair.style in ("long", "bob"):
        fall = np.array([0.0, 0.0, -0.45])
        flow = side * np.array([1.0, 0.0, 0.0]) * (0.4 + front) + away * 5 + fall * (0.4 + 0.9 * front)
    elif hair.style == "tied":
        flow = _tie_point(hair.parting) - place
    elif hair.style == "curly":
        flow = away * 3 + 0.7 * random.standard_normal(place.shape)
    else:
        flow = away * 8 + np.array([0.25 * hair.parting, 0, 0])
    flow = flow - roots.normal * (flow * roots.normal).sum(1, keepdims=True)
    return _unit(flow)


def _lengths(person: Person, roots: _Roots, random: np.random.Generator) -> NDArray[np.float64]:
    hair, count = person.hair, len(roots.place)
    lengths = hair.length * (0.85 + 0.3 * random.random(count))
    x, y, z = np.abs(roots.template[:, 0]), roots.template[:, 1], roots.template[:, 2]
    if hair.style in ("short", "side", "curly"):
        # Shorter at the sides and the neck.
        low = np.clip((y - 10) / 60, 0, 1)
        lengths = lengths * ((0.25 if hair.style != "curly" else 0.5) * (1 - low) + low)
    if hair.style in ("fringe", "bob"):
        in_front = np.clip((z - 5) / 25, 0, 1) * np.clip((62 - x) / 12, 0, 1)
        fringe = 0.045 + 0.0006 * np.clip(y - 60, 0, 60) + 0.01 * random.random(count)
        if hair.style == "fringe" or hair.volume > 0.5:
            lengths = lengths * (1 - in_front) + np.minimum(fringe, lengths) * in_front
    if hair.style == "tied":
        lengths = np.linalg.norm(roots.place - _tie_point(hair.parting), axis=1) * 1.25
    return np.maximum(lengths, 0.002)


def _tie_point(parting: float) -> NDArray[np.float64]:
    return _TIE_HIGH if abs(parting) > 0.4 else _TIE_LOW


def _gather(points: NDArray[np.float64], parting: float, random: np.random.Generator) -> None:
    """Bring the tips of tied hair together."""
    knot = _tie_point(parting) + 0.008 * random.standard_normal((len(points), 3))
    weight = np.linspace(0, 1, points.shape[1]) ** 3
    points += weight[:, None] * (knot - points[:, -1])[:, None]


def _bun(person: Person, tied: Strands, body: Body) -> Strands:
    """A knot of wound hair, or a tail that hangs down, at the place where the hair is tied."""
    random = stream(*person.seed, "bun")
    count, steps = 1200, 12
    knot = _tie_point(person.hair.parting)
    along = np.linspace(0, 1, steps)
    start = random.standard_normal((count, 3))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    if person.hair.wave > 0.45:
        length = 0.10 + 0.12 * person.hair.volume
        base = knot + 0.012 * start + np.array([0, 0, -0.006])
        sway = np.stack([noise(base[:, None] + 0 * along[None, :, None], 0.02, 5 + k) for k in range(3)], -1)
        out = 0.03 * np.sin(np.pi * np.minimum(along * 1.4, 1))
        points = base[:, None] + along[None, :, None] * length * _DOWN
        points = points + out[None, :, None] * np.array([0, 0.3, -1.0]) + 0.004 * sway * along[None, :, None]
    else:
        radius = (0.024 + 0.012 * person.hair.volume) * (0.75 + 0.3 * random.random(count))
        other = _unit(np.cross(start, random.standard_normal((count, 3))))
        angle = 2.2 * along[None] + 0.3 * random.random((count, 1))
        points = np.cos(angle)[..., None] * start[:, None] + np.sin(angle)[..., None] * other[:, None]
        points = knot + np.array([0, 0, -0.012]) + points * radius[:, None, None] * np.array([1.15, 1.0, 0.85])
    width = np.full((count, steps), 0.0016)
    seed = int(random.integers(2**31))
    chosen = random.integers(0, len(tied), count)
    return Strands(
        points.astype(np.float32),
        width.astype(np.float32),
        _colors(person, points[:, 0], steps, random, seed),
        tied.face[chosen],
        tied.barycentric[chosen],
        np.ones(count, bool),
    )


def _beard(person: Person, body: Body) -> Strands:
    random = stream(*person.seed, "beard")
    place = body.template * 1000
    grows = beard_area(place, np.full(len(place), 9.0))
    x, y = np.abs(place[:, 0]), place[:, 1]
    if person.face.beard == "goatee":
        grows = grows * (x < 27)
    elif person.face.beard == "moustache":
        grows = grows * (x < 25) * (y > -48) * (y < -33)
    # The lips themselves stay free; the outline is followed only roughly by whole triangles.
    lips = (x < 25) & (y < -44.5 + 0.15 * x) & (y > -66 + 0.35 * x)
    grows = grows * ~lips
    count, steps = (4500 if person.face.beard == "full" else 1600), 5
    roots = _roots(body, grows.astype(np.float32), count, random)
    length = person.face.beard_length * (0.6 + 0.6 * random.random(count))
    length = length * np.interp(roots.template[:, 1], [-120, -85, -60, -40, 0], [0.6, 1.0, 0.9, 0.6, 0.4])
    direction = _unit(0.55 * roots.normal + 0.9 * _DOWN + 0.25 * random.standard_normal((count, 3)))
    points = np.empty((count, steps, 3))
    points[:, 0] = roots.place
    for k in range(1, steps):
        direction = _unit(direction + 0.2 * _DOWN + 0.12 * random.standard_normal((count, 3)))
        points[:, k] = points[:, k - 1] + direction * (length / (steps - 1))[:, None]
    width = 0.0009 * np.interp(np.linspace(0, 1, steps), [0, 1], [1, 0.4]) * (0.7 + 0.6 * random.random((count, 1)))
    return Strands(
        points.astype(np.float32),
        width.astype(np.float32),
        _colors(person, roots.place, steps, random, int(random.integers(2**31))) * 0.8,
        roots.face,
        roots.barycentric,
        np.zeros(count, bool),
    )


def _colors(person: Person, place: NDArray[np.float64], steps: int, random: np.random.Generator, seed: int) -> Values:
    hair, count = person.hair, len(place)
    tone = np.exp(0.22 * noise(place, 0.012, seed + 20) + 0.18 * random.standard_normal(count))
    base = np.array(hair.color)[None] * tone[:, None]
    grey = np.clip(hair.grey * (1 + 0.5 * noise(place, 0.02, seed + 21)) + 0.15 * random.standard_normal(count), 0, 1)
    silver = np.array([0.28, 0.275, 0.265]) * (0.8 + 0.3 * random.random((count, 1)))
    weight = (grey * (hair.grey > 0.05))[:, None]
    base = base * (1 - weight) + np.maximum(silver, base) * weight
    ends = np.interp(np.linspace(0, 1, steps), [0, 1], [0.8, 1.2])
    return np.clip(base[:, None] * ends[None, :, None], 0.003, 0.8).astype(np.float32)


def _outside(
    points: NDArray[np.float64],
    direction: NDArray[np.float64],
    tree: cKDTree,
    normals: Values,
    body: Body,
    gap: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points pushed out of the body to at least `gap` from it, and directions that no longer run into it."""
    _, nearest = tree.query(points, workers=1)
    normal = normals[nearest].astype(np.float64)
    distance = ((points - body.vertices[nearest]) * normal).sum(1)
    push = np.clip(gap - distance, 0, None)[:, None]
    into = np.clip(-(direction * normal).sum(1, keepdims=True), 0, None) * (push > 0)
    return points + push * normal, _unit(direction + into * normal)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)
