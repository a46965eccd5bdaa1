"""A person's texture: skin with its pigments, brows, lips, eyes, teeth, and the cloth below the neckline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spatialavatar.synth.canvas import Canvas, step
from spatialavatar.synth.chance import noise, stream
from spatialavatar.synth.person import Person

Values = NDArray[np.float32]

# Absorption of the pigments in red, green, blue, per unit of `Skin.melanin` and `Skin.blood`, over a pale ground.
_GROUND = np.array([0.86, 0.73, 0.64])
_MELANIN = np.array([1.28, 1.78, 2.20])
_BLOOD = np.array([0.10, 0.52, 0.46])
_YELLOW = np.array([0.0, 0.05, 0.22])

_IRIS_COSINE = np.cos(np.radians(23.2))


@dataclass(frozen=True)
class Paint:
    """What the surface is made of, texel by texel.

    albedo: (R, R, 3) linear colour.
    surface: (R, R, 4) shine (strength of the highlight), roughness, how much light bleeds through (1 skin, 0 cloth),
        and the height of fine relief in millimetres.
    """

    albedo: Values
    surface: Values


def paint_person(person: Person, canvas: Canvas) -> Paint:
    """The person's texture on the canvas."""
    random = stream(*person.seed, "paint")
    seeds = random.integers(0, 2**31, 16)
    albedo, relief = _skin(person, canvas, seeds)
    shine = np.full(len(canvas.place), 0.25 + 0.5 * person.skin.shine, np.float32)
    shine *= 0.6 + 0.9 * _oily(canvas)
    rough = np.full(len(canvas.place), 0.42, np.float32)
    bleed = np.ones(len(canvas.place), np.float32)
    albedo, shine, rough = _features(person, canvas, seeds, albedo, shine, rough)
    _mouth_and_eyes(person, canvas, seeds, albedo, shine, rough, bleed, relief)
    _cloth(person, canvas, seeds, albedo, shine, rough, bleed, relief)
    surface = np.stack([shine, rough, bleed, relief], -1)
    return Paint(canvas.texture(np.clip(albedo, 0.002, 0.95)), canvas.texture(surface))


def skin_tone(person: Person, melanin: Values | float = 0.0, blood: Values | float = 0.0) -> Values:
    """(..., 3) linear albedo of bare skin with this much more melanin and blood than the person's mean."""
    skin = person.skin
    more = np.asarray(skin.melanin * 1.12 + 0.06 + np.asarray(melanin))[..., None] * _MELANIN
    more = more + np.asarray(skin.blood * 0.9 + np.asarray(blood))[..., None] * _BLOOD
    more = more + skin.yellow * _YELLOW * (0.4 + 0.6 * skin.melanin)
    return (_GROUND * np.exp(-more)).astype(np.float32)


def _bump(place: Values, centre: tuple[float, float, float], size: float) -> Values:
    """1 at a place and its mirror image, falling off over `size` mm."""
    offset = np.stack([np.abs(place[:, 0]), place[:, 1], place[:, 2]], 1) - np.array(centre, np.float32)
    return np.exp(-(offset**2).sum(1) / size**2).astype(np.float32)


def _oily(canvas: Canvas) -> Values:
    place = canvas.place
    return np.clip(
        _bump(place, (0, 45, 52), 28) + _bump(place, (0, -15, 70), 16) + 0.7 * _bump(place, (38, -8, 46), 14), 0, 1
    )


def _skin(person: Person, canvas: Canvas, seeds: NDArray[np.int64]) -> tuple[Values, Values]:
    """Linear albedo of the bare skin and its fine relief in millimetres."""
    skin, place = person.skin, canvas.place
    broad = noise(place, 22, int(seeds[0]), 3)
    fine = noise(place, 5, int(seeds[1]), 3)
    pores = noise(place, 1.6, int(seeds[2]))
    red = 0.045 * skin.blotches * noise(place, 14, int(seeds[3]), 3) + 0.015 * fine
    red = red + 0.38 * skin.blush * _bump(place, (37, -20, 46), 18)
    red = red + 0.28 * skin.blush * (_bump(place, (0, -22, 72), 13) + 0.6 * _bump(place, (14, -28, 54), 9))
    red = red + 0.25 * skin.blotches * canvas.ear + 0.12 * _bump(place, (0, -78, 52), 14)
    melanin = 0.022 * skin.blotches * broad + 0.010 * fine + 0.012 * pores
    ring = _bump(place, (26, 3, 44), 12) + 0.6 * _bump(place, (18, 8, 44), 8)
    melanin = melanin + 0.14 * skin.shadows * np.clip(ring, 0, 1)
    red = red + 0.15 * skin.shadows * np.clip(ring, 0, 1)
    lids = step(-np.abs(canvas.eyes - 3.0), -5.0, -0.5)
    melanin, red = melanin + 0.05 * lids, red + 0.15 * lids
    melanin = melanin - 0.04 * _bump(place, (0, 45, 55), 40)
    spots = step(noise(place, 3.4, int(seeds[4])) + 0.35 * noise(place, 16, int(seeds[5])), 1.25, 1.9)
    face = np.clip(_bump(place, (26, -8, 52), 34) + 0.3, 0, 1)
    melanin = melanin + 0.45 * skin.freckles * spots * face
    moles = step(noise(place, 5.5, int(seeds[6])), 2.5, 2.75)
    melanin = melanin + 0.6 * moles * (noise(place, 60, int(seeds[7])) > 0.3)
    relief = 0.05 * fine + 0.03 * pores
    if skin.wrinkles > 0.05:
        lines = _wrinkles(place, int(seeds[8]))
        relief, melanin = relief - 0.6 * skin.wrinkles * lines, melanin + 0.10 * skin.wrinkles * lines
    return skin_tone(person, melanin, red), relief.astype(np.float32)


def _wrinkles(place: Values, seed: int) -> Values:
    """Depth 0 to 1: forehead, crow's feet, and from the nose past the mouth."""
    x, y = np.abs(place[:, 0]), place[:, 1]
    warp = 2.5 * noise(place, 30, seed)
    forehead = np.cos((y + warp) * 2 * np.pi / 8.5) ** 8 * _bump(place, (0, 54, 50), 26)
    angle = np.arctan2(y - 13, x - 38) + 0.12 * warp / 2.5
    feet = np.cos(angle * 9) ** 6 * _bump(place, (51, 12, 34), 8)
    fold = np.interp(y, [-62, -48, -36, -26], [31, 30, 25, 18])
    nose_lip = (
        np.exp(-(((x - fold + 0.4 * warp) / 1.8) ** 2)) * step(y, -64, -50) * step(-y, 22, 30) * (place[:, 2] > 20)
    )
    return np.clip(0.8 * forehead + 0.7 * feet + 1.2 * nose_lip, 0, 1).astype(np.float32)


def _features(
    person: Person, canvas: Canvas, seeds: NDArray[np.int64], albedo: Values, shine: Values, rough: Values
) -> tuple[Values, Values, Values]:
    """Lips, brows, lashes, stubble, scalp, makeup."""
    face, place = person.face, canvas.place
    streaks = noise(place * np.array([2.2, 1.0, 1.0], np.float32), 2.2, int(seeds[9]), 2)

    lips = step(-canvas.lips, -0.7, 1.6)
    bare = skin_tone(person, 0.03 * person.skin.melanin + 0.02 * streaks, 0.75 + 0.1 * streaks)
    lip = bare * (1 - face.lip_paint) + np.array(face.lips, np.float32) * face.lip_paint * (1 + 0.06 * streaks[:, None])
    albedo = _mix(albedo, lip, lips)
    line = np.exp(-((canvas.mouth_line / 1.6) ** 2)) * lips
    albedo = albedo * (1 - 0.35 * line[:, None])
    shine = shine * (1 - lips) + lips * (0.7 + 1.0 * face.lip_paint)
    rough = rough * (1 - lips) + lips * 0.3

    if face.rouge > 0:
        albedo = albedo * (1 - face.rouge * _bump(place, (42, -14, 40), 17)[:, None] * np.array([0.02, 0.22, 0.18]))
    upper = step(place[:, 1] - np.interp(np.abs(place[:, 0]), [16, 30, 44], [11, 13, 13]), -1, 1.5)
    if face.eye_paint > 0:
        lid = upper * step(-canvas.eyes, -9, -1.5)
        albedo = _mix(albedo, np.array(face.eye_shadow, np.float32) * np.ones_like(albedo), face.eye_paint * lid)

    grain = noise(place, 1.3, int(seeds[10]))
    hairs = noise(place * np.array([3.0, 0.8, 1.0], np.float32), 2.0, int(seeds[11]), 2)
    brow_color = np.array(face.brow_color, np.float32)
    width = face.brow_width * np.interp(canvas.brow_along, [0, 0.15, 0.6, 1.0], [0.85, 1.0, 0.95, 0.45])
    brow = step(width - np.abs(canvas.brow_across) + 0.14 * hairs, -0.2, 0.55)
    brow = brow * step(canvas.brow_along, -0.06, 0.14) * step(-canvas.brow_along, -1.1, -0.95)
    albedo = _mix(albedo, brow_color, np.clip(brow * face.brow_density * (0.85 + 0.15 * hairs), 0, 0.95))

    edge = np.exp(-((np.clip(canvas.eyes, -1.2, 99) / 1.1) ** 2))
    inner = (canvas.eyes < 0).astype(np.float32)
    lash = np.clip(edge + inner * upper, 0, 1) * (0.35 + 0.65 * upper) * face.lashes
    albedo = _mix(albedo, np.array([0.012, 0.009, 0.008], np.float32), np.clip(lash, 0, 0.93))
    waterline = inner * (1 - upper) * 0.6
    albedo = _mix(albedo, skin_tone(person, -0.1 * person.skin.melanin, 0.6), waterline)

    hair = np.array(person.hair.color, np.float32)
    roots = np.minimum(hair, 0.12)
    shadow = canvas.beard * (0.6 + 0.4 * grain)
    if face.beard != "full":
        albedo = _mix(albedo, roots * 0.7 + albedo * 0.25, np.clip(0.5 * face.stubble * shadow, 0, 0.8))
    else:
        albedo = _mix(albedo, roots, np.clip(0.75 * canvas.beard, 0, 0.9))
    if person.hair.style != "bald":
        thick = step(canvas.hairline + 2.0 * grain, -2, 9)
        albedo = _mix(albedo, roots * 0.6, 0.85 * thick)
    else:
        thick = step(canvas.hairline + 2.0 * grain - 45 * person.hair.receding * (canvas.place[:, 1] > 55), -2, 9)
        albedo = _mix(albedo, roots, 0.45 * face.stubble * thick)
    cover = np.clip(lips * 0 + brow, 0, 1)
    return albedo.astype(np.float32), (shine * (1 - 0.7 * cover)).astype(np.float32), rough.astype(np.float32)


def _mouth_and_eyes(
    person: Person,
    canvas: Canvas,
    seeds: NDArray[np.int64],
    albedo: Values,
    shine: Values,
    rough: Values,
    bleed: Values,
    relief: Values,
) -> None:
    """Everything that is not skin, in place."""
    face, place = person.face, canvas.place
    for names, color, gloss in (
        (("mouth_socket",), (0.30, 0.075, 0.07), 0.5),
        (("tongue",), (0.42, 0.15, 0.14), 0.8),
        (("left_eye_socket", "right_eye_socket"), (0.35, 0.14, 0.12), 0.4),
    ):
        mine = canvas.is_part(*names)
        albedo[mine] = np.array(color) * (1 + 0.08 * noise(place[mine], 4, int(seeds[12]))[:, None])
        shine[mine], rough[mine], relief[mine] = gloss, 0.3, 0
    teeth = canvas.is_part("upper_teeth", "lower_teeth")
    around = np.arctan2(place[teeth, 0], place[teeth, 2] + 5)
    gaps = 1 - 0.35 * np.exp(-((((around * 11 + 0.5) % 1 - 0.5) / 0.1) ** 2))
    enamel = np.array([1.0, 0.94, 0.82]) * face.teeth
    gum = step(np.abs(place[teeth, 1] + 50), 9, 12)[:, None]
    albedo[teeth] = (enamel * gaps[:, None]) * (1 - gum) + np.array([0.42, 0.15, 0.14]) * gum
    shine[teeth], rough[teeth], relief[teeth], bleed[teeth] = 1.0, 0.2, 0, 0.5

    eyes = canvas.is_part("left_eye", "right_eye")
    direction = canvas.eye_direction[eyes]
    radius = np.arccos(np.clip(direction[:, 2], -1, 1)) / np.arccos(_IRIS_COSINE)  # 1 at the iris's edge
    angle = np.arctan2(direction[:, 1], direction[:, 0])
    ring = np.stack([np.cos(angle), np.sin(angle), 0.25 * radius], -1) * 10
    fibres = noise(ring, 1.6, int(seeds[13]), 2)
    white = np.array([1.0, 0.96, 0.93]) * face.sclera
    veins = step(noise(direction * 10, 1.5, int(seeds[14]), 2), 1.0, 2.0) * step(radius, 1.3, 2.4)
    color = white * (1 - veins[:, None] * np.array([0.05, 0.3, 0.28]))
    color = color * (1 - 0.25 * step(radius, 1.5, 3.0)[:, None] * np.array([0.3, 0.8, 0.8]))
    iris = np.array(face.iris) * (1 + 0.35 * fibres[:, None]) * (1.25 - 0.35 * radius[:, None])
    collar = np.exp(-(((radius - face.pupil - 0.12) / 0.13) ** 2))[:, None]
    iris = iris * (1 + collar * np.array([0.55, 0.3, 0.05]))
    iris = iris * (1 - 0.65 * step(radius, 0.8, 1.0))[:, None]
    color = np.where((radius < 1)[:, None], iris, color)
    color = color * (1 - 0.5 * np.exp(-(((radius - 1.0) / 0.07) ** 2)))[:, None]
    pupil = step(-radius, -face.pupil - 0.05, -face.pupil + 0.05)[:, None]
    albedo[eyes] = color * (1 - pupil) + 0.003 * pupil
    shine[eyes], rough[eyes], relief[eyes], bleed[eyes] = 2.0, 0.08, 0, 0.3


def neckline(person: Person, place: NDArray[np.floating]) -> Values:
    """(...,) millimetres that a place (..., 3) of the template lies below the edge of the clothes; negative is bare."""
    clothes = person.clothes
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    edge = -150 - 0.32 * z - 14 * clothes.depth
    if clothes.kind == "high":
        edge = -108 - 0.2 * z + 0 * x
    elif clothes.kind in ("shirt", "jacket"):
        edge = -128 - 0.26 * z - 26 * np.clip(1 - x / 24, 0, 1) * (z > -60)
    elif clothes.kind == "v":
        edge = edge + 8 - (40 + 25 * clothes.depth) * np.clip(1 - x / 52, 0, 1) * (z > -60)
    return (edge - y).astype(np.float32)


def dress(person: Person, place: NDArray[np.floating], albedo: Values) -> tuple[Values, Values]:
    """Put the clothes on, at the picture's own sharpness: where the texture is coarse a neckline would fray.

    Args:
        place: (N, 3) places of the template in millimetres. albedo: (N, 3) linear colours there.

    Returns:
        The colours with cloth over them, and (N, 1) how much of it there is.
    """
    below = neckline(person, place)
    cover = step(below, -0.4, 0.4)
    hem = 1 - 0.2 * np.exp(-(((below - 9) / 1.0) ** 2)) - 0.3 * np.exp(-((below / 1.5) ** 2))
    color = cloth_color(person, place) * hem[:, None]
    return _mix(albedo, color, cover), cover[:, None].astype(np.float32)


def cloth_color(person: Person, place: NDArray[np.floating]) -> Values:
    """(N, 3) linear colour of the cloth at places of the template in millimetres."""
    clothes = person.clothes
    x, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
    color = np.tile(np.array(clothes.color, np.float32), (len(place), 1))
    if clothes.pattern == "stripes":
        color = np.where((np.sin(y / 3.5) > 0.3)[:, None], color * 0.45 + 0.25 * np.array(clothes.second), color)
    elif clothes.pattern == "checks":
        color = color * (1 - 0.35 * ((np.sin(y / 4) > 0) ^ (np.sin(place[:, 0] / 4) > 0)))[:, None]
    elif clothes.pattern == "heather":
        color = color * (1 + 0.10 * noise(place, 1.6, 77))[:, None]
    if clothes.kind == "jacket":
        lapel = np.interp(y, [-400, -230, -120], [6, 34, 62])
        inside = step(lapel - x, -1, 1) * (z > -70)
        tie = step(np.interp(y, [-400, -160, -150], [18, 11, 9]) - x, -1, 1) * (y < -146) * (clothes.depth > 0.5)
        color = _mix(color, np.array(clothes.second, np.float32), inside)
        color = _mix(color, np.array(clothes.color[::-1], np.float32) * 0.8 + 0.02, tie * inside)
    return color.astype(np.float32)


def _cloth(
    person: Person,
    canvas: Canvas,
    seeds: NDArray[np.int64],
    albedo: Values,
    shine: Values,
    rough: Values,
    bleed: Values,
    relief: Values,
) -> None:
    below = neckline(person, canvas.place)
    cover = step(below, 2.0, 8.0) * canvas.is_part("skin")
    folds = noise(canvas.place, 45, int(seeds[15]), 3)
    weave = noise(canvas.place, 1.8, int(seeds[15]) + 1)
    color = cloth_color(person, canvas.place) * (1 + 0.05 * folds + 0.05 * weave)[:, None]
    albedo[:] = _mix(albedo, color, cover)
    shine[:] = shine * (1 - cover) + 0.12 * cover
    rough[:] = rough * (1 - cover) + 0.8 * cover
    bleed[:] = bleed * (1 - cover)
    relief[:] = relief * (1 - cover) + cover * (3.0 * folds + 0.08 * weave)


def _mix(base: NDArray[np.floating], other: NDArray[np.floating], weight: NDArray[np.floating]) -> Values:
    weight = np.clip(weight, 0, 1)[:, None]
    return (base * (1 - weight) + other * weight).astype(np.float32)
