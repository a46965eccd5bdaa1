"""One frame: a posed model, a light and a camera in, a picture and its matte out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from spatialavatar.splat.camera import Camera
from spatialavatar.synth.light import Light, directions, lamp_weights, ribbon_faces, ribbon_mesh
from spatialavatar.synth.model import Model, Posed, hair_stations
from spatialavatar.synth.paint import dress
from spatialavatar.synth.raster import Floats, Mesh, Shown, Target, sample_texture

_WRAP = np.array([0.34, 0.16, 0.10], np.float32)
"""How far light bleeds round the edge of a shadow in skin: red the farthest."""
_NORMAL_INCIDENCE = 0.035
_HIGHEST_CLOTH = -60.0  # millimetres on the template


@dataclass(frozen=True)
class Drawn:
    """color (H, W, 3) float sRGB, multiplied by alpha; alpha (H, W) share of each pixel that the person covers."""

    color: Floats
    alpha: Floats

    def over(self, background: Floats) -> NDArray[np.uint8]:
        """(H, W, 3) the picture before a background (H, W, 3) of sRGB floats."""
        picture = self.color + (1 - self.alpha[..., None]) * background
        return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)

    def matte(self) -> NDArray[np.uint8]:
        """(H, W)"""
        return np.clip(self.alpha * 255 + 0.5, 0, 255).astype(np.uint8)


def project(points: Floats, camera: Camera, scale: float = 1.0) -> Floats:
    """(..., 3) x, y in pixels (times `scale`) and nearness 1 / depth of world points (..., 3)."""
    pinhole, world = camera.intrinsics.double().numpy(), camera.camera_from_world.double().numpy()
    seen = points @ world[:3, :3].T + world[:3, 3]
    nearness = 1 / np.where(np.abs(seen[..., 2]) < 1e-6, -1e-6, seen[..., 2])
    x = (seen[..., 0] * pinhole[0, 0] * nearness + pinhole[0, 2]) * scale
    y = (seen[..., 1] * pinhole[1, 1] * nearness + pinhole[1, 2]) * scale
    return np.stack([x, y, nearness], -1).astype(np.float32)


def draw(model: Model, posed: Posed, light: Light, camera: Camera, samples: int = 2) -> Drawn:
    """Draw one frame with samples x samples samples a pixel."""
    width, height = camera.width * samples, camera.height * samples
    target = Target(width, height)
    target.draw(Mesh(project(posed.vertices, camera, samples), model.faces))
    if posed.hair is not None and model.hair is not None:
        points = project(posed.hair, camera, samples)
        across = model.hair.width * points[..., 2] * float(camera.intrinsics[0, 0]) * samples
        target.draw(ribbon_mesh(points, across, least=0.7))
    color = np.zeros((width * height, 3), np.float32)
    eye = camera.position.double().numpy().astype(np.float32)
    skin = target.shown(0)
    color[skin.samples] = _display(_surface(model, posed, light, skin, eye))
    if posed.hair is not None:
        hair = target.shown(1)
        color[hair.samples] = _display(_hair(model, posed, light, hair, eye))
    covered = (target.face >= 0).astype(np.float32)
    return Drawn(
        _mean_of_samples(color.reshape(height, width, 3), samples),
        _mean_of_samples(covered[..., None], samples)[..., 0],
    )


def _surface(model: Model, posed: Posed, light: Light, shown: Shown, eye: Floats) -> Floats:
    """(M, 3) linear radiance of skin, eyes, teeth and cloth."""
    visible = model.visible
    surrounding, lamps = _arriving(posed, light, visible, model.sunk)
    vertex = np.concatenate([posed.normals, posed.vertices, surrounding, lamps, model.place], 1)
    at = shown.interpolate(model.faces, vertex)
    normal, place, ambient, reached = at[:, :3], at[:, 3:6], at[:, 6:9], at[:, 9:-3]
    texture = sample_texture(model.texture, shown.interpolate(model.uv_faces, model.uv))
    albedo, shine, rough, bleed = texture[:, :3], texture[:, 3:4], texture[:, 4:5], texture[:, 5:6]
    low = np.flatnonzero(at[:, -2] < _HIGHEST_CLOTH)
    albedo[low], covered = dress(model.person, at[low, -3:], albedo[low])
    bleed[low] *= 1 - covered
    shine[low] = shine[low] * (1 - covered) + 0.1 * covered
    view = _unit(eye - place)
    # Seen from behind (the inside of a collar) a surface is lit as if it were turned round.
    normal = _unit(normal - texture[:, 6:9] @ posed.skull[:, :3].T.astype(np.float32))
    normal *= np.where(_dot(normal, view) < -0.15, -1, 1).astype(np.float32)
    facing = np.clip(_dot(normal, view), 0.02, 1)
    fresnel = _NORMAL_INCIDENCE + (1 - _NORMAL_INCIDENCE) * (1 - facing) ** 5 * (1 - rough) ** 1.5
    radiance = albedo * ambient + 0.35 * shine * fresnel * ambient
    for index, lamp in enumerate(light.lamps):
        cosine = normal @ lamp.direction[:, None]
        wrap = _WRAP * bleed
        lit = np.clip((cosine + wrap) / (1 + wrap), 0, 1) ** 1.15
        half = _unit(view + lamp.direction)
        spread = rough**2 + 0.02 + 0.10 * lamp.softness**2
        peak = np.clip(_dot(normal, half), 0, 1)
        gloss = spread**2 / (np.pi * (peak**2 * (spread**2 - 1) + 1) ** 2)
        bright = np.clip(cosine, 0, 1) * shine * gloss * (_NORMAL_INCIDENCE + 0.9 * (1 - facing) ** 5 * (1 - rough))
        shade = reached[:, index : index + 1]
        radiance += lamp.color * shade * (albedo * lit + 0.8 * np.minimum(bright, 6.0))
    return radiance.astype(np.float32, copy=False)


def _arriving(posed: Posed, light: Light, visible: Floats, sunk: Floats) -> tuple[Floats, Floats]:
    """(V, 3) irradiance from the surrounding over pi, and (V, L) how much of each lamp arrives."""
    around, reached = [], []
    for frame in (posed.skull[:, :3], posed.body[:, :3]):
        world = directions() @ frame.T.astype(np.float32)
        cosine = np.clip(posed.normals @ world.T, 0, None) * visible
        around.append(cosine @ light.surrounding(world) * (4 / len(world)))
        lamps = [
            visible @ lamp_weights(frame.T.astype(np.float32) @ lamp.direction, lamp.softness) for lamp in light.lamps
        ]
        # The surface's own horizon is in the cosine already; what is left is what other surfaces hide.
        open_share = [
            np.clip(posed.normals @ world.T * 6 + 0.5, 0, 1)
            @ lamp_weights(frame.T.astype(np.float32) @ lamp.direction, lamp.softness)
            for lamp in light.lamps
        ]
        reached.append(np.stack([np.clip(a / (b + 0.05), 0, 1) for a, b in zip(lamps, open_share, strict=True)], 1))
    skull = posed.on_skull[:, None]
    dim = 1 - 0.15 * sunk[:, None]
    ambient = (around[0] * skull + around[1] * (1 - skull)) * dim + 0.02 * (1 - sunk[:, None])
    return ambient.astype(np.float32), ((reached[0] * skull + reached[1] * (1 - skull)) * dim).astype(np.float32)


def _hair(model: Model, posed: Posed, light: Light, shown: Shown, eye: Floats) -> Floats:
    """(M, 3) linear radiance of strands: the light along a hair makes a cone around it (Kajiya and Kay's model)."""
    hair, points = model.hair, posed.hair
    assert hair is not None and points is not None and model.hair_visible is not None and model.hair_out is not None
    strands, steps = points.shape[:2]
    stations = hair_stations(steps)
    world = directions() @ posed.skull[:, :3].T.astype(np.float32)
    open_ = model.hair_visible.reshape(-1, len(world))
    ambient = open_ @ light.surrounding(world) * (1.1 / len(world))
    reached = np.stack(
        [
            open_ @ lamp_weights(posed.skull[:, :3].T.astype(np.float32) @ lamp.direction, lamp.softness)
            for lamp in light.lamps
        ],
        1,
    )
    coarse = np.concatenate([ambient, reached], 1).reshape(strands, len(stations), -1)
    fine = _between(coarse, stations, steps)
    out = _between(model.hair_out @ posed.skull[:, :3].T.astype(np.float32), stations, steps)
    tangent = np.gradient(points, axis=1)
    vertex = np.concatenate([tangent, points, hair.color, out, fine], -1).reshape(strands * steps, -1)
    at = shown.interpolate(ribbon_faces(strands, steps), np.concatenate([vertex, vertex]))
    tangent, place, albedo, out, ambient = (at[:, 3 * k : 3 * k + 3] for k in range(5))
    tangent, out = _unit(tangent), _unit(out)
    view = _unit(eye - place)
    radiance = albedo * ambient * 1.25
    for index, lamp in enumerate(light.lamps):
        along = tangent @ lamp.direction[:, None]
        sine = np.sqrt(np.clip(1 - along**2, 0, 1))
        wrapped = np.clip(0.55 + 0.6 * (out @ lamp.direction[:, None]), 0, 1)
        half = _unit(view + lamp.direction)
        first = np.clip(_dot(tangent, half) + 0.06, -1, 1)
        second = np.clip(_dot(tangent, half) - 0.10, -1, 1)
        white = np.clip(1 - first**2, 0, 1) ** 30
        tinted = np.clip(1 - second**2, 0, 1) ** 10
        shine = 0.035 * white + albedo * 0.8 * tinted
        radiance += lamp.color * at[:, 15 + index : 16 + index] * (albedo * sine * wrapped + shine * wrapped)
    return radiance


def _between(values: Floats, stations: NDArray[np.int64], steps: int) -> Floats:
    """(S, P, C) values (S, Q, C) at some points of each strand, carried to all."""
    at = np.interp(np.arange(steps), stations, np.arange(len(stations)))
    low = np.minimum(at.astype(np.int64), max(len(stations) - 2, 0))
    part = (at - low).astype(np.float32)[None, :, None]
    return values[:, low] * (1 - part) + values[:, np.minimum(low + 1, len(stations) - 1)] * part


def _display(radiance: Floats) -> Floats:
    """Linear light to sRGB: highlights roll off as a camera's do."""
    knee = 0.65
    over = np.clip(radiance - knee, 0, None)
    shown = np.minimum(radiance, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
    shown = np.clip(shown, 0, 1)
    return np.where(shown < 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055).astype(np.float32)


def _dot(a: Floats, b: Floats) -> Floats:
    """(M, 1) products of vectors (M, 3)."""
    return np.einsum("mk,mk->m", a, b)[:, None]


def _unit(vectors: Floats) -> Floats:
    return (vectors / (np.sqrt(_dot(vectors, vectors)) + 1e-8)).astype(np.float32, copy=False)


def _mean_of_samples(values: Floats, samples: int) -> Floats:
    """(H samples, W samples, C) -> (H, W, C)"""
    rows = reduce(np.add, [values[k::samples] for k in range(samples)])
    total = reduce(np.add, [rows[:, k::samples] for k in range(samples)])
    return (total / samples**2).astype(np.float32)
