"""Built-in motion: a turntable, and a reel of expressions, gaze and head turns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from spatialavatar.drive.arkit import gaze_of_weights
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.head.motion import Motion

FRAME_RATE = 25.0
TURN = math.radians(45.0)
"""How far the turntable turns to either side."""
_NOD = math.radians(10.0)
_JAW = 0.28
_NUMBERED_STRENGTH = 2.0


@dataclass(frozen=True)
class Pose:
    """One moment of the reel: weights of ARKit's shapes, and rotations in degrees, yaw to the left, pitch down."""

    weights: Mapping[str, float] = field(default_factory=dict)
    head_yaw: float = 0.0
    head_pitch: float = 0.0
    head_roll: float = 0.0
    jaw: float = 0.0
    """Fraction of a wide open mouth, for heads without a jawOpen shape."""


def _both(name: str, weight: float) -> dict[str, float]:
    return {f"{name}Left": weight, f"{name}Right": weight}


_REST = Pose()
_REEL: tuple[Pose, ...] = (
    _REST,
    Pose({**_both("eyeBlink", 1.0)}),
    _REST,
    Pose({**_both("mouthSmile", 0.85), **_both("cheekSquint", 0.5), **_both("eyeSquint", 0.25)}),
    _REST,
    Pose({"jawOpen": 0.75, **_both("browOuterUp", 0.6), "browInnerUp": 0.6, **_both("eyeWide", 0.5)}, jaw=0.9),
    _REST,
    Pose({"mouthPucker": 0.9, **_both("browDown", 0.5)}),
    _REST,
    Pose({**_both("browDown", 0.9), **_both("mouthFrown", 0.7), **_both("noseSneer", 0.5)}),
    _REST,
    Pose({"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8}),
    Pose({"eyeLookInLeft": 0.8, "eyeLookOutRight": 0.8}),
    _REST,
    Pose({**_both("eyeLookUp", 0.7), "browInnerUp": 0.4}),
    _REST,
    Pose({"jawOpen": 0.25, "mouthFunnel": 0.7}, head_yaw=20.0, jaw=0.3),
    Pose({"jawOpen": 0.4, **_both("mouthSmile", 0.5)}, head_yaw=-20.0, jaw=0.4),
    Pose({**_both("mouthSmile", 0.5)}, head_pitch=12.0),
    Pose({**_both("mouthSmile", 0.5)}, head_roll=10.0),
    _REST,
)
_SECONDS_PER_POSE = 0.55


def turntable(seconds: float = 4.0, frame_rate: float = FRAME_RATE) -> Recording:
    """The whole bust turns 45 degrees to either side and nods a little; starts and ends in front."""
    time = torch.arange(max(1, round(seconds * frame_rate))) / max(1, round(seconds * frame_rate)) * (2 * math.pi)
    zero = torch.zeros_like(time)
    motion = replace(
        Motion.neutral(len(time), len(ARKIT_NAMES)),
        global_rotation=torch.stack([_NOD * (2 * time).sin(), TURN * time.sin(), zero], -1),
    )
    return _authored(motion, frame_rate, "turntable")


def expression_reel(frame_rate: float = FRAME_RATE) -> Recording:
    """Twelve seconds: blink, smile, surprise, pucker, frown, gaze, speech with head turns."""
    return reel(_REEL, frame_rate)


def reel(poses: tuple[Pose, ...], frame_rate: float = FRAME_RATE) -> Recording:
    """Poses played one after the other, each reached smoothly and held for a moment."""
    steps = max(1, round(_SECONDS_PER_POSE * frame_rate))
    keys = torch.tensor([_numbers(pose) for pose in poses])  # (P, 52 + 4)
    # Half of the time moves, eased at both ends, and half holds.
    blend = (2.0 * torch.arange(steps) / steps).clamp(max=1.0)
    blend = (blend * blend * (3 - 2 * blend))[:, None]
    frames = torch.cat([keys[i] + blend * (keys[i + 1] - keys[i]) for i in range(len(keys) - 1)] + [keys[-1:]])
    expression, angles, jaw = frames[:, : len(ARKIT_NAMES)], frames[:, -4:-1], frames[:, -1]
    zero = torch.zeros_like(jaw)
    motion = replace(
        Motion.neutral(len(frames), len(ARKIT_NAMES)),
        expression=expression,
        neck_rotation=angles[:, [1, 0, 2]] * math.radians(1.0),
        jaw_rotation=torch.stack([_JAW * jaw, zero, zero], -1),
        eyes_rotation=gaze_of_weights({name: expression[:, index] for index, name in enumerate(ARKIT_NAMES)}),
    )
    return _authored(motion, frame_rate, "expression reel")


def for_head(recording: Recording, expression_names: tuple[str, ...], edition: str) -> Recording:
    """Built-in motion in a head's own terms.

    A head with ARKit's shapes opens its mouth by jawOpen, so the jaw's rotation is taken out. A head with numbered
    components (FLAME) opens it by the joint, and shows its first components one after the other instead of shapes
    it does not have.
    """
    if "jawOpen" in expression_names:
        motion = replace(recording.motion, jaw_rotation=torch.zeros_like(recording.motion.jaw_rotation))
        return replace(recording, motion=motion)
    if any(name in ARKIT_NAMES for name in expression_names):
        return recording
    expression = _first_components(recording.motion.expression, len(expression_names))
    return Recording(
        motion=replace(recording.motion, expression=expression),
        expression_names=expression_names,
        frame_rate=recording.frame_rate,
        head_edition=edition,
        rest=Motion.neutral(1, len(expression_names)),
        source=recording.source,
    )


def joined(*recordings: Recording) -> Recording:
    """One after the other; all must have the same names, head and frame rate."""
    first = recordings[0]
    for other in recordings[1:]:
        if (other.expression_names, other.head_edition, other.frame_rate) != (
            first.expression_names,
            first.head_edition,
            first.frame_rate,
        ):
            raise ValueError(f"{first.source} and {other.source} cannot be joined")
    return replace(
        first,
        motion=Motion.cat([recording.motion for recording in recordings]),
        source=" and ".join(recording.source for recording in recordings),
    )


def _numbers(pose: Pose) -> list[float]:
    unknown = set(pose.weights) - set(ARKIT_NAMES)
    if unknown:
        raise ValueError(f"no ARKit shape {unknown.pop()!r}")
    weights = [pose.weights.get(name, 0.0) for name in ARKIT_NAMES]
    return [*weights, pose.head_yaw, pose.head_pitch, pose.head_roll, pose.jaw]


def _authored(motion: Motion, frame_rate: float, source: str) -> Recording:
    return Recording(motion, ARKIT_NAMES, frame_rate, None, Motion.neutral(1, len(ARKIT_NAMES)), source)


def _first_components(weights: Tensor, count: int) -> Tensor:
    """(T, count) the first components in turn, moving whenever the reel's shapes do."""
    strength = weights.amax(1)
    started = torch.cat([torch.zeros(1), ((strength[1:] > 1e-4) & (strength[:-1] <= 1e-4)).float()]).cumsum(0).long()
    result = torch.zeros(len(weights), count)
    # Each movement of the reel shows one component, positive and negative by turns.
    component = ((started - 1).clamp_min(0) // 2) % min(count, 5)
    sign = 1.0 - 2.0 * ((started - 1).clamp_min(0) % 2)
    result[torch.arange(len(weights)), component] = _NUMBERED_STRENGTH * sign * strength
    return result
