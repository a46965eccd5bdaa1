"""How many pixels each triangle of the skin should get: where the eye looks most, the texture is finest."""

from __future__ import annotations

import numpy as np

from tools.build_open_head.embed import areas

# Pixels per square centimetre.
SCALP, NECK, SHOULDERS, FACE, EAR = 10.0, 8.0, 5.5, 60.0, 30.0
MORE_AT_EYES, MORE_AT_LIPS, MORE_AT_NOSE = 90.0, 70.0, 20.0
MOUTH_SOCKET = 7.0
# Pixels. A triangle of fewer than about two pixels may miss every pixel centre.
LEAST_ON_SKIN, LEAST_AT_RIM, LEAST_DEEP = 2.8, 2.4, 0.6
# Rings of triangles that show when lids and lips part, counted from the skin.
SHOWN_EYE_RINGS, SHOWN_MOUTH_RINGS = 4, 4


def skin_areas(positions: np.ndarray, faces: np.ndarray, part: np.ndarray, names: list[str]) -> np.ndarray:
    """Wanted areas of the triangles of skin and sockets.

    Args:
        positions: (V, 3) template in the head's frame, metres.
        faces: (F, 3) triangles of skin and sockets.
        part: (F,) index into `names`.
        names: Names of all parts.

    Returns:
        (F,) areas in pixels.
    """
    centres = positions[faces].mean(axis=1)
    x, y, z = np.abs(centres[:, 0]), centres[:, 1], centres[:, 2]
    surface = areas(positions[faces]) * 1e4
    below_chin = _ramp(-y, 0.075, 0.13) * (1 - _ramp(z, 0.0, 0.03))
    front = _ramp(z, -0.02, 0.02) * _ramp(y, -0.105, -0.085)

    density = np.full(len(faces), SCALP)
    density += (NECK - density) * below_chin
    density += (SHOULDERS - density) * _ramp(-y, 0.14, 0.17)
    # The forehead is smooth and needs less than the rest of the face.
    density += (FACE * (1 - 0.35 * _ramp(y, 0.06, 0.1)) - density) * front
    # Ears are the only densely meshed place at the side of the head.
    is_ear = (x > 0.062) & (z < 0) & (z > -0.065) & (y > -0.06) & (y < 0.035) & (surface < 0.3)
    density[is_ear] = np.maximum(density[is_ear], EAR)
    density += MORE_AT_EYES * _bump((x - 0.03) / 0.024, (y - 0.016) / 0.017) * (z > 0)
    density += MORE_AT_LIPS * _bump(x / 0.03, (y + 0.055) / 0.016) * (z > 0.02)
    density += MORE_AT_NOSE * _bump(x / 0.02, (y + 0.022) / 0.025) * (z > 0.03)
    wanted = np.maximum(density * surface, LEAST_ON_SKIN)

    ring = _rings_from(faces, part == names.index("skin"))
    eye_sockets = np.isin(part, [names.index("left_eye_socket"), names.index("right_eye_socket")])
    wanted[eye_sockets] = np.where(ring[eye_sockets] <= SHOWN_EYE_RINGS, LEAST_AT_RIM, LEAST_DEEP)
    mouth = part == names.index("mouth_socket")
    inside = np.clip(surface[mouth] * MOUTH_SOCKET, LEAST_DEEP, 6.0)
    wanted[mouth] = np.where(ring[mouth] <= SHOWN_MOUTH_RINGS, np.maximum(inside, LEAST_AT_RIM), inside)
    return wanted


def _ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _bump(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A plateau of 1 inside the unit circle with a smooth, steep edge."""
    return np.exp(-((u**2 + v**2) ** 2))


def _rings_from(faces: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(F,) how many steps over shared vertices each triangle is away from those of `start`."""
    ring = np.where(start, 0, -1)
    step = 0
    while (ring < 0).any():
        reached = np.unique(faces[ring == step])
        touching = np.isin(faces, reached).any(axis=1) & (ring < 0)
        if not touching.any():
            raise SystemExit("a socket does not hang together with the skin")
        step += 1
        ring[touching] = step
    return ring
