"""Paint on the open head: what a face detector looks for and bare geometry lacks. All by place on the template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatialavatar.head.head import Head

# Outer rings of triangles around the openings, counted from the sockets (see `Paint.rings`).
LIP_RINGS, LASH_RINGS = 7, 3
IRIS_COSINE, PUPIL_COSINE = np.cos(np.radians(23.2)), np.cos(np.radians(9.0))
# The brow's middle line from nose to temple, on the ridge of the brow bone, and its half width: millimetres.
BROW = np.array([[10.0, 27.9, 3.0], [20.0, 30.4, 3.8], [30.0, 32.7, 3.6], [39.0, 32.9, 2.8], [49.0, 28.9, 1.6]])


@dataclass(frozen=True)
class Palette:
    """Linear colours of one person."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    lips: tuple[float, float, float]
    iris: tuple[float, float, float]


PALETTES = (
    Palette((0.62, 0.38, 0.28), (0.03, 0.02, 0.015), (0.45, 0.14, 0.12), (0.08, 0.04, 0.02)),
    Palette((0.75, 0.52, 0.42), (0.12, 0.06, 0.03), (0.55, 0.22, 0.2), (0.1, 0.16, 0.22)),
    Palette((0.30, 0.16, 0.10), (0.012, 0.01, 0.01), (0.24, 0.09, 0.08), (0.04, 0.02, 0.012)),
    Palette((0.68, 0.46, 0.33), (0.02, 0.015, 0.015), (0.5, 0.2, 0.17), (0.05, 0.03, 0.02)),
)


class Paint:
    """Colours the pixels of a rendered open head."""

    def __init__(self, head: Head):
        self.template = head.template.double().numpy()
        self.faces = head.faces.numpy()
        self.part = np.array(head.part_names)[head.part_of_face.numpy()]
        self.eye_centres = (head.joint_regressor @ head.template).double().numpy()[3:5]
        self.lip_ring = self.rings("mouth_socket")
        self.lid_ring = self.rings("left_eye_socket", "right_eye_socket")

    def rings(self, *names: str) -> np.ndarray:
        """(F,) how many rings of triangles a face is away from the parts of these names; 99 beyond 12."""
        ring = np.where(np.isin(self.part, names), 0, 99)
        for step in range(12):
            reached = np.unique(self.faces[ring == step])
            ring[np.isin(self.faces, reached).any(axis=1) & (ring == 99)] = step + 1
        return ring

    def albedo(self, face: np.ndarray, barycentric: np.ndarray, palette: Palette) -> np.ndarray:
        """(N,) faces and (N, 3) weights -> (N, 3) colours."""
        place = (self.template[self.faces[face]] * barycentric[..., None]).sum(axis=1) * 1e3
        x, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
        part = self.part[face]
        color = np.tile(np.array(palette.skin), (len(face), 1))
        cheek = np.exp(-(((x - 38) / 14) ** 2 + ((y + 22) / 12) ** 2)) * (z > 20)
        color += cheek[:, None] * np.array([0.06, -0.02, -0.02])

        skin = part == "skin"
        lips = skin & (self.lip_ring[face] <= LIP_RINGS)
        color[lips] = palette.lips
        hair = np.array(palette.hair)
        middle, half = np.interp(x, BROW[:, 0], BROW[:, 1]), np.interp(x, BROW[:, 0], BROW[:, 2])
        ends = np.clip((x - 8) / 3, 0, 1) * np.clip((52 - x) / 4, 0, 1)
        brow = np.clip(1.3 - np.abs(y - middle) / half, 0, 1) * ends * (z > 15) * skin
        color += 0.85 * brow[:, None] * (hair - color)
        lashes = skin & (self.lid_ring[face] <= LASH_RINGS) & (y > 14)
        color[lashes] = 0.3 * color[lashes] + 0.7 * hair
        on_scalp = skin & ((y > 30 + 0.87 * (z + 12)) & (z > -75) | (z <= -75) & (y > -55)) & (z > -200)
        is_ear = (x > 66) & (z > -62) & (z < 0) & (y < 38)
        color[on_scalp & ~is_ear] = hair
        inside = np.isin(part, ["mouth_socket", "tongue"])
        color[inside] = (0.25, 0.06, 0.06)
        color[np.isin(part, ["left_eye_socket", "right_eye_socket"])] = (0.4, 0.16, 0.14)
        color[np.isin(part, ["upper_teeth", "lower_teeth"])] = (0.75, 0.72, 0.62)
        for name, centre in zip(("left_eye", "right_eye"), self.eye_centres, strict=True):
            mine = part == name
            direction = place[mine] - centre * 1e3
            cosine = direction[:, 2] / np.linalg.norm(direction, axis=1)
            eye = np.tile(np.array([0.8, 0.78, 0.76]), (mine.sum(), 1))
            eye[cosine > IRIS_COSINE] = palette.iris
            eye[cosine > PUPIL_COSINE] = 0.005
            color[mine] = eye
        return np.clip(color, 0, 1)
