"""What a made-up person does: talks, blinks, glances, smiles, turns the head; smooth in time."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.synth.chance import stream

Values = NDArray[np.float64]

# A glance of these angles moves the lids with full weight (docs/tracked_folder.md).
_FULL_YAW, _FULL_PITCH = math.radians(30.0), math.radians(25.0)

_BLOCK = 60.0  # seconds

# What a mouth does while it talks: largest weight, seconds between changes, share of the time at rest.
_SPEECH = {
    "jawOpen": (0.42, 0.17, 0.25),
    "mouthFunnel": (0.50, 0.26, 0.55),
    "mouthPucker": (0.55, 0.30, 0.60),
    "mouthLowerDown": (0.45, 0.18, 0.45),
    "mouthUpperUp": (0.35, 0.20, 0.50),
    "mouthStretch": (0.30, 0.25, 0.55),
    "mouthPress": (0.35, 0.22, 0.60),
    "mouthRollLower": (0.40, 0.24, 0.65),
    "mouthRollUpper": (0.30, 0.26, 0.70),
    "mouthShrugUpper": (0.25, 0.3, 0.6),
    "mouthClose": (0.06, 0.22, 0.6),
    "tongueOut": (0.06, 0.5, 0.8),
}
# Faces that people make, with the weights of a strong one.
_FACES: tuple[dict[str, float], ...] = (
    {"mouthSmile": 0.85, "cheekSquint": 0.5, "eyeSquint": 0.3},
    {"mouthSmile": 0.9, "cheekSquint": 0.6, "jawOpen": 0.22, "mouthUpperUp": 0.35, "eyeSquint": 0.35},
    {"browInnerUp": 0.8, "browOuterUp": 0.7, "eyeWide": 0.5},
    {"browInnerUp": 0.7, "browOuterUp": 0.6, "eyeWide": 0.6, "jawOpen": 0.45},
    {"browDown": 0.85, "eyeSquint": 0.4, "mouthFrown": 0.4},
    {"mouthFrown": 0.75, "browInnerUp": 0.5, "mouthShrugLower": 0.5},
    {"noseSneer": 0.6, "browDown": 0.5, "mouthUpperUp": 0.4},
    {"mouthPucker": 0.8, "browDown": 0.2},
    {"cheekPuff": 0.7, "mouthPress": 0.5},
    {"mouthPress": 0.7, "mouthDimple": 0.5},
    {"mouthLeft": 0.6},
    {"mouthRight": 0.6},
    {"jawOpen": 0.6},
    {"eyeBlinkLeft": 0.95, "cheekSquintLeft": 0.5, "mouthSmileLeft": 0.4},
    {"eyeSquint": 0.7},
)


def perform(head: Head, times: Values, *seed: int | str, turn: float | None = None) -> Motion:
    """The motion of a person with this seed at some times (T,) in seconds.

    Args:
        head: Must have ARKit's expressions.
        times: Any times from 0 on; looked at more often, the same minute of performance is the same.
        turn: How far the head turns to the sides, radians; by default drawn too, from 10 to 42 degrees.
    """
    random = stream(*seed, "performance")
    # Drawn for whole blocks, so that the moments asked for do not change what happens at them.
    end = _BLOCK * math.ceil((float(np.max(times)) + 3.0) / _BLOCK)
    names = head.expression_names
    weights = dict.fromkeys(names, np.zeros(len(times)))

    def add(name: str, value: Values, uneven: float = 0.0) -> None:
        if name in names:
            weights[name] = weights[name] + value
        else:
            weights[f"{name}Left"] = weights[f"{name}Left"] + value * (1 - max(uneven, 0))
            weights[f"{name}Right"] = weights[f"{name}Right"] + value * (1 + min(uneven, 0))

    talks = _smooth(_wander(random, times, end, 1.3) + random.uniform(-0.3, 1.0), -0.3, 0.3)
    for name, (most, period, rest) in _SPEECH.items():
        level = _wander(random, times, end, period)
        add(name, most * talks * np.clip((level - _quantile(rest)) / 1.4, 0, 1), float(random.uniform(-0.15, 0.15)))
    eager = random.uniform(0.35, 1.0)
    for start in _moments(random, end, 1.6):
        face = _FACES[int(random.integers(len(_FACES)))]
        length = random.uniform(0.8, 2.2)
        swell = _smooth(np.minimum(times - start, start + length - times), 0.0, 0.3) * random.uniform(0.3, 1.0) * eager
        uneven = float(random.uniform(-0.3, 0.3))
        for name, weight in face.items():
            add(name, weight * swell, uneven)
    resting = random.uniform(0, 0.25)
    add("mouthSmile", resting * np.clip(0.6 + 0.4 * _wander(random, times, end, 2.5), 0, 1))
    for name in ("browInnerUp", "browOuterUp", "browDown"):
        add(name, 0.25 * np.clip(_wander(random, times, end, 0.9) - 0.7, 0, 1))

    yaw = turn if turn is not None else math.radians(random.uniform(10, 42))
    turned = np.stack(
        [
            math.radians(9) * _wander(random, times, end, 1.1),
            yaw * np.clip(0.75 * _wander(random, times, end, 1.8), -1, 1),
            math.radians(5) * _wander(random, times, end, 1.5),
        ],
        1,
    )
    turned[:, 0] = np.clip(turned[:, 0], -math.radians(18), math.radians(22))
    # A little of every turn is the body's.
    lean = np.stack([_wander(random, times, end, 2.5) for _ in range(3)], 1) * np.radians([2.0, 4.0, 1.5])
    sway = np.stack([_wander(random, times, end, 2.0) for _ in range(3)], 1) * np.array([0.007, 0.004, 0.010])
    gaze = _gaze(random, times, end, turned[:, 1])
    _lids(weights, gaze, times, random, end)

    expression = np.clip(np.stack([weights[name] for name in names], 1), 0, 1)
    zero = torch.zeros(len(times), 3)
    return Motion(
        expression=torch.from_numpy(expression.astype(np.float32)),
        global_rotation=torch.from_numpy((lean + 0.12 * turned).astype(np.float32)),
        neck_rotation=torch.from_numpy((0.88 * turned).astype(np.float32)),
        jaw_rotation=zero,
        eyes_rotation=torch.from_numpy(gaze.astype(np.float32)),
        translation=torch.from_numpy(sway.astype(np.float32)),
        neck_translation=zero.clone(),
    )


def _gaze(random: np.random.Generator, times: Values, end: float, head_yaw: Values) -> Values:
    """(T, 6) rotation of both eyes: they hold a point, leap to the next, and partly stay on it while the head turns."""
    starts = np.concatenate([[-1.0], _moments(random, end, 0.9)])
    yaws = np.radians(random.normal(0, 9, len(starts)).clip(-24, 24))
    pitches = np.radians(random.normal(1, 5, len(starts)).clip(-13, 14))
    yaws[random.random(len(starts)) < 0.4] = 0.0  # into the camera
    yaw, pitch = (np.zeros(len(times)) for _ in range(2))
    for k in range(len(starts)):
        arrived = _smooth(times - starts[k], 0.0, 0.06)
        yaw, pitch = yaw + arrived * (yaws[k] - yaw), pitch + arrived * (pitches[k] - pitch)
    yaw = np.clip(yaw - 0.45 * head_yaw, -_FULL_YAW, _FULL_YAW)
    zero, inwards = np.zeros(len(times)), math.radians(1.5)
    return np.stack([pitch, yaw - inwards, zero, pitch, yaw + inwards, zero], 1)


def _lids(weights: dict[str, Values], gaze: Values, times: Values, random: np.random.Generator, end: float) -> None:
    """Lids that follow the gaze, and blinks."""
    for side, eye, outwards in (("Left", 0, 1), ("Right", 3, -1)):
        pitch, yaw = gaze[:, eye] / _FULL_PITCH, outwards * gaze[:, eye + 1] / _FULL_YAW
        weights[f"eyeLookDown{side}"], weights[f"eyeLookUp{side}"] = np.clip(pitch, 0, 1), np.clip(-pitch, 0, 1)
        weights[f"eyeLookOut{side}"], weights[f"eyeLookIn{side}"] = np.clip(yaw, 0, 1), np.clip(-yaw, 0, 1)
    shut = np.zeros(len(times))
    for start in _moments(random, end, 2.2):
        closing, opening = _smooth(times - start, 0.0, 0.09), _smooth(times - start, 0.14, 0.32)
        shut = np.maximum(shut, closing * (1 - opening))
    heavy = float(random.uniform(0, 0.14))
    for side in ("Left", "Right"):
        blink = weights[f"eyeBlink{side}"]
        # What closes the eye takes the place of what opens it or lowers the lid already.
        blink = np.maximum(blink, np.maximum(shut, heavy))
        weights[f"eyeBlink{side}"] = blink * (1 - 0.6 * weights[f"eyeLookDown{side}"])
        weights[f"eyeWide{side}"] = weights[f"eyeWide{side}"] * (1 - shut)


def _moments(random: np.random.Generator, end: float, every: float) -> Values:
    """Random moments, one every so many seconds on average, none much sooner after another."""
    gaps = every * (0.35 + random.exponential(0.65, int(end / every * 2.5) + 4))
    moments = np.cumsum(gaps) - gaps[0] * random.random()
    return moments[moments < end]


def _wander(random: np.random.Generator, times: Values, end: float, period: float) -> Values:
    """(T,) a smooth random course about 0 with standard deviation about 1 and a new aim every `period` seconds."""
    knots = random.standard_normal(int(end / period) + 6)
    at = times / period + random.random() + 1
    cell = np.floor(at).astype(np.int64)
    part = at - cell
    p0, p1, p2, p3 = (knots[np.clip(cell + k, 0, len(knots) - 1)] for k in (-1, 0, 1, 2))
    # Catmull and Rom's spline: no jump in speed.
    course = p1 + 0.5 * part * (p2 - p0 + part * (2 * p0 - 5 * p1 + 4 * p2 - p3 + part * (3 * (p1 - p2) + p3 - p0)))
    return 1.15 * course


def _smooth(value: Values, low: float, high: float) -> Values:
    part = np.clip((value - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def _quantile(share: float) -> float:
    """The level below which a standard normal number lies with this chance; a fair approximation."""
    return (share**0.135 - (1 - share) ** 0.135) / 0.1975
