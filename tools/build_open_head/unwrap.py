"""The UV map: MakeHuman's islands in boxes."""

from __future__ import annotations

import numpy as np

SIZE = 256
# Boxes (left, top, width, height) in pixels of a 256 x 256 layout.
BOXES = {
    "skin": (1, 1, 196, 254),
    "mouth_socket": (198, 70, 57, 57),
    "left_eye_socket": (198, 176, 28, 34),
    "right_eye_socket": (227, 176, 28, 34),
    "left_eye": (198, 129, 28, 28),
    "right_eye": (227, 129, 28, 28),
    "upper_teeth": (198, 158, 57, 8),
    "lower_teeth": (198, 167, 57, 8),
    "tongue": (198, 212, 24, 40),
}


def unwrap(texture, faces, texture_faces, part, part_names):
    coordinates, indices = [], np.full((len(faces), 3), -1)
    total = 0
    for number, name in enumerate(part_names):
        chosen = np.flatnonzero(part == number)
        if name.endswith("_eye"):
            first = faces[chosen].min()
            count = faces[chosen].max() - first + 1
            from tools.build_open_head.eyeballs import MERIDIANS, RINGS

            radius = np.concatenate([[0], np.repeat(np.array(RINGS) / 180, MERIDIANS), [1.0]])
            angle = np.concatenate([[0], np.tile(2 * np.pi * np.arange(MERIDIANS) / MERIDIANS, len(RINGS)), [0]])
            chart = 0.5 + 0.5 * radius[:, None] * np.stack([np.cos(angle), -np.sin(angle)], -1)
            chart[-1] = chart[-2]
            corners = faces[chosen] - first
            assert len(chart) == count
        else:
            used, corners = np.unique(texture_faces[chosen], return_inverse=True)
            corners = corners.reshape(-1, 3)
            chart = texture[used] * [1, -1]
            chart = (chart - chart.min(axis=0)) / np.ptp(chart, axis=0)
        left, top, width, height = BOXES[name]
        coordinates.append((np.array([left, top]) + chart * [width, height]) / SIZE)
        indices[chosen] = corners + total
        total += len(chart)
    return np.concatenate(coordinates), indices
