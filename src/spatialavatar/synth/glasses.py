"""The frame of a pair of glasses. It sits on the skull as hair does, so it is drawn as a few thick strands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatialavatar.synth.chance import stream
from spatialavatar.synth.person import Person
from spatialavatar.synth.strands import Body, Strands

_THICKNESS = {"wire": 0.0011, "frame": 0.0026}
_STEPS = 9
_PIECES = 16  # of a rim


def bend_glasses(person: Person, body: Body) -> Strands:
    """Rims round the eyes, a bridge over the nose, temples to the ears and hooks behind them."""
    random = stream(*person.seed, "glasses")
    wide, high = random.uniform(0.021, 0.027), random.uniform(0.016, 0.021)
    squareness = random.uniform(2.0, 4.0)  # 2 is an ellipse
    eye = _nearest(body, (29, 6, 46)) + np.array([0.0, 0.004, 0.0])
    depth = max(float(_nearest(body, (0, 12, 54))[2]), float(eye[2])) + 0.006
    ear = _nearest(body, (66, 14, -14)) + np.array([0.003, 0.006, 0.0])

    angle = np.linspace(0, 2 * np.pi, _PIECES * (_STEPS - 1) + 1)
    c, s = np.cos(angle), np.sin(angle)
    radius = (np.abs(c) ** squareness + np.abs(s) ** squareness) ** (-1 / squareness)
    x, y = wide * c * radius, high * s * radius
    rim = np.stack([eye[0] + x, eye[1] + y, depth - 0.09 * (x + wide)], 1)  # bent round the face
    curves = [rim[k * (_STEPS - 1) : (k + 1) * (_STEPS - 1) + 1] for k in range(_PIECES)]
    hinge = rim[np.argmax(rim[:, 0] + 0.4 * rim[:, 1])]
    temple = np.linspace(hinge, ear, 2 * _STEPS - 1)
    curves += [temple[:_STEPS], temple[_STEPS - 1 :]]
    curves.append(np.linspace(ear, ear + np.array([-0.002, -0.020, -0.016]), _STEPS))
    inner = rim[np.argmin(rim[:, 0] - 0.3 * rim[:, 1])]
    across = np.linspace(-1, 1, _STEPS)
    bridge = np.stack([inner[0] * across, inner[1] + 0.003 * (1 - across**2), np.full(_STEPS, depth + 0.001)], 1)

    half = np.stack(curves)
    points = np.concatenate([half, half * np.array([-1.0, 1.0, 1.0]), bridge[None]]).astype(np.float32)
    color = np.array(person.face.glasses_color, np.float32)
    return Strands(
        points=points,
        width=np.full(points.shape[:2], _THICKNESS[person.face.glasses], np.float32),
        color=np.ascontiguousarray(np.broadcast_to(color, points.shape)),
        face=np.full(len(points), body.face_index[0]),
        barycentric=np.tile(np.array([[1, 0, 0]], np.float32), (len(points), 1)),
        on_skull=np.ones(len(points), bool),
    )


def _nearest(body: Body, place: tuple[float, float, float]) -> NDArray[np.float64]:
    """(3,) where the body's vertex lies that is nearest to a place on the template in millimetres."""
    return body.vertices[np.linalg.norm(body.template * 1000 - place, axis=1).argmin()].astype(np.float64)
