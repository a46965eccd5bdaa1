"""What is around a made-up person: the cameras that look at them and the background behind them."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.splat.camera import Camera
from spatialavatar.synth.chance import noise, stream

Values = NDArray[np.float32]

# The whole arc of the cameras of a multi-view set, and the heights they alternate between.
_ARC = math.radians(93.0)
_HEIGHTS = tuple(math.radians(v) for v in (4.0, 20.0, -9.0, 12.0))
_RIG_DISTANCE, _RIG_SIDE = 0.86, 0.37
_AIM = (0.0, -0.012, 0.0)


def single_camera(size: int, *seed: int | str) -> Camera:
    """The camera of a talking video, cropped about the head: it looks along -z of the world.

    The focal length lies between 0.8 and 2.4 of the picture's side, never so short that the camera would come nearer
    than 38 cm; some crops lie off the lens's axis.
    """
    random = stream(*seed, "camera")
    side = random.uniform(0.27, 0.39)  # metres of the head's plane in the picture
    focal = math.exp(random.uniform(math.log(0.8), math.log(2.4)))
    focal = max(focal, 0.38 / side)
    distance = focal * side
    shift = random.normal(0, 0.012, 2) + np.array([0.0, -0.010])
    off_axis = random.uniform(-0.25, 0.25, 2) if random.random() < 0.3 else np.zeros(2)
    world = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    # Moving the principal point and the camera together keeps the head where it is.
    world[0, 3] = -shift[0] - off_axis[0] * side
    world[1, 3] = shift[1] - off_axis[1] * side
    world[2, 3] = distance
    center = [size * (0.5 + off_axis[0]), size * (0.5 + off_axis[1])]
    pinhole = torch.tensor([[focal * size, 0, center[0]], [0, focal * size, center[1]], [0, 0, 1]], dtype=torch.float32)
    return Camera(world, pinhole, size, size)


def camera_arc(count: int, size: int) -> list[Camera]:
    """`count` cameras from the subject's right to the left, at several heights, all aimed at the head."""
    cameras = []
    for k in range(count):
        around = 0.0 if count == 1 else _ARC * (k / (count - 1) - 0.5)
        up = _HEIGHTS[k % len(_HEIGHTS)]
        place = [math.sin(around) * math.cos(up), math.sin(up), math.cos(around) * math.cos(up)]
        cameras.append(
            Camera.look_at(
                [_RIG_DISTANCE * p + a for p, a in zip(place, _AIM, strict=True)],
                _AIM,
                width=size,
                height=size,
                vertical_field_of_view=2 * math.atan(_RIG_SIDE / 2 / _RIG_DISTANCE),
            )
        )
    return cameras


def background(size: int, *seed: int | str) -> Values:
    """(size, size, 3) sRGB floats: a wall, a studio, a room or a garden, out of focus."""
    random = stream(*seed, "background")
    column, row = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    place = np.stack([column, row, np.zeros_like(row)], -1)
    number = int(random.integers(2**31))
    kind = random.random()
    first, second = _color(random), _color(random)
    if kind < 0.35:  # a wall, lit unevenly
        picture = first * (1 + random.uniform(0, 0.12) * noise(place, 0.9, number, 2))[..., None]
        slope = random.normal(0, 0.25, 2)
        picture = picture * (1 + slope[0] * (column - 0.5) + slope[1] * (row - 0.5))[..., None]
    elif kind < 0.5:  # a studio
        radius = np.hypot(column - 0.5, row - random.uniform(0.3, 0.7))
        picture = first * (1.1 - random.uniform(0.2, 0.9) * radius)[..., None]
    elif kind < 0.8:  # a room: upright things of several colours
        picture = np.broadcast_to(first, (size, size, 3)).copy()
        for _ in range(int(random.integers(4, 14))):
            left, width = random.uniform(-0.2, 1.0), random.lognormal(-1.6, 0.7)
            top, height = random.uniform(-0.3, 0.9), random.lognormal(-0.9, 0.7)
            blur = random.uniform(0.004, 0.04)
            inside = _edge(column - left, blur) * _edge(left + width - column, blur)
            inside = inside * _edge(row - top, blur) * _edge(top + height - row, blur)
            picture += (inside * random.uniform(0.4, 1))[..., None] * (_color(random) - picture)
    else:  # leaves and lights
        mix = np.clip(0.5 + 0.45 * noise(place, random.uniform(0.15, 0.5), number, 4), 0, 1)[..., None]
        picture = first * mix + second * (1 - mix)
        for _ in range(int(random.integers(0, 18))):
            x, y, spread = random.random(), random.random() * 0.8, random.uniform(0.01, 0.05)
            disc = _edge(spread - np.hypot(column - x, row - y), 0.006)[..., None]
            picture += disc * random.uniform(0.1, 0.6) * (np.clip(_color(random) * 1.5, 0, 1) - picture)
    return np.clip(picture, 0, 1).astype(np.float32)


def _color(random: np.random.Generator) -> NDArray[np.float64]:
    grey = random.beta(1.5, 1.3)
    return np.clip(grey * (1 + random.normal(0, 0.16, 3) * random.choice([0.4, 1.0, 2.0])), 0.02, 1)


def _edge(value: NDArray[np.floating], blur: float) -> NDArray[np.float64]:
    return np.asarray(np.clip(value / blur + 0.5, 0, 1), np.float64)
