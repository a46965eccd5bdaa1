"""Whom the benchmark looks at, and with which cameras. Nothing here may change without a new RECIPE."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from spatialavatar.random_streams import stream
from spatialavatar.splat.camera import Camera

RECIPE = 1
"""Goes up whenever the same name begins to mean other pictures."""
SEED = 20231
SIZE = 512
"""Side of all pictures in pixels: the size in which `create` works."""
SECONDS = 10.0
FRAME_RATE = 12.5
"""Frames a second of the filmed video. With 25 the short form does not fit into 25 minutes on two cores."""
FRAMES = int(SECONDS * FRAME_RATE)
INSTANTS = tuple(range(7, FRAMES, 16))
"""Frames of the filmed video in which the other cameras are looked at: eight, 1.28 seconds apart."""
SMALL_TURN, LARGE_TURN = 8.0, 36.0
"""Degrees to which heads turn to either side: one looks into the camera, one looks around."""


@dataclass(frozen=True)
class Person:
    """One made-up person: `number` gives looks, motion, light and lens."""

    number: int
    turn_degrees: float

    @property
    def name(self) -> str:
        return f"person_{self.number:02d}"

    @property
    def seed(self) -> tuple[int, str, int]:
        return SEED, "novel_views", self.number


TUNING = tuple(Person(k, SMALL_TURN if k % 2 == 0 else LARGE_TURN) for k in range(8))
"""People who may be looked at while something is being changed."""
HELD_OUT = tuple(Person(k, SMALL_TURN if k % 2 == 0 else LARGE_TURN) for k in range(100, 104))
"""People who are never used for tuning: they are scored when a change is finished, and not looked at before."""
SHORT = TUNING[:4]
"""Those of the short form: two who hardly turn, two who do."""
ALL = TUNING + HELD_OUT
GROUPS = {"short": SHORT, "tuning": TUNING, "held-out": HELD_OUT, "all": ALL}

FILMED, FRONT = "filmed", "front"
"""The camera whose pictures an avatar is made from, and the same one at the instants that are scored."""
OWN = "own"
"""The filmed camera's pictures, drawn with the camera that the tracker found and not the true one: what an avatar was
made to look like, and no novel view."""
ROUND = {
    # Degrees to the subject's left, and up. Seen from a photo's camera each lies within a band, none on an edge.
    # Heights differ, so that no camera is the mirror image of another.
    "left-75": (75.0, -6.0),
    "left-52": (52.0, 0.0),
    "left-37": (37.0, 8.0),
    "left-22": (22.0, -5.0),
    "left-8": (8.0, 3.0),
    "right-8": (-8.0, -4.0),
    "right-22": (-22.0, 6.0),
    "right-37": (-37.0, -4.0),
    "right-52": (-52.0, 7.0),
    "right-75": (-75.0, 4.0),
    "above": (10.0, 24.0),
    "below": (-10.0, -20.0),
}
OTHERS = tuple(ROUND)
SCORED = (FRONT, *OTHERS)
"""Cameras in which avatars are scored. Their pictures are drawn over white, so that no background shows in hair."""
_AIM = (0.0, -0.012, 0.0)
_DISTANCE, _SIDE = 0.86, 0.37
"""Metres: of the other cameras from the head, and of the head's plane across their pictures (as in multi-view sets)."""
_FILMED_SIDE = (0.34, 0.40)
_FILMED_FOCAL = (1.1, 2.4)
"""Focal length over the picture's side of the filmed camera: a phone at arm's length to a portrait lens."""


def filmed_focal(person: Person) -> float:
    """Focal length over the picture's side."""
    low, high = (math.log(value) for value in _FILMED_FOCAL)
    return math.exp(float(stream(*person.seed, "lens").uniform(low, high)))


def cameras_of(person: Person) -> dict[str, Camera]:
    """The filmed camera, which looks along -z as that of a tracked video does, and the others."""
    random = stream(*person.seed, "framing")
    side = float(random.uniform(*_FILMED_SIDE))
    focal = filmed_focal(person)
    across, up = random.normal(0, 0.010, 2)
    place = torch.tensor([float(across), _AIM[1] + float(up), focal * side])
    field_of_view = 2 * math.atan(0.5 / focal)
    straight = Camera.look_at(
        place, place - torch.tensor([0.0, 0.0, 1.0]), width=SIZE, height=SIZE, vertical_field_of_view=field_of_view
    )
    found = {FILMED: straight, FRONT: straight}
    for name, (yaw, pitch) in ROUND.items():
        around, above = math.radians(yaw), math.radians(pitch)
        direction = (math.sin(around) * math.cos(above), math.sin(above), math.cos(around) * math.cos(above))
        found[name] = Camera.look_at(
            [_DISTANCE * part + aim for part, aim in zip(direction, _AIM, strict=True)],
            _AIM,
            width=SIZE,
            height=SIZE,
            vertical_field_of_view=2 * math.atan(_SIDE / 2 / _DISTANCE),
        )
    return found
