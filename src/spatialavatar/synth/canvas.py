"""The head's texture as a painter sees it: each texel's place on the head, and how far it is from lips, eyes, hairline.

All regions are found on the template, so they follow every identity and expression through the UV map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.open_head import load_open_head
from spatialavatar.synth.raster import Mesh, Target, vertex_normals

Values = NDArray[np.float32]

# MediaPipe's numbers of outlines on the subject's right side (image left), each drawn from nose to temple or around.
_LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_EYE_RIGHT = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
_BROW_RIGHT = ((107, 55), (66, 65), (105, 52), (63, 53), (70, 46))

# Height of the hairline over the depth of a place, millimetres: forehead, temple, sideburn, around the ear, nape.
_HAIRLINE_Z = (-120, -90, -70, -56, -44, -30, -14, -4, 6, 22, 38, 52, 70)
_HAIRLINE_Y = (-66, -60, -48, -30, 0, 22, 20, -2, 20, 50, 66, 76, 90)


@dataclass(frozen=True)
class Canvas:
    """Texels of a square texture that lie on the head, N of them, in the order of rows.

    Lengths are millimetres on the template. Signed distances are negative inside.
    """

    size: int
    texels: NDArray[np.int64]
    """(N,) index into the texture's rows laid end to end."""
    nearest: NDArray[np.int64]
    """(size * size,) for each texel of the texture the nearest of the N, to fill what lies between the islands."""
    place: Values
    """(N, 3)"""
    part: NDArray[np.int64]
    """(N,) index into `part_names`."""
    part_names: tuple[str, ...]
    lips: Values
    """(N,) signed distance to the outline of the lips."""
    mouth_line: Values
    """(N,) distance to the line between the lips."""
    eyes: Values
    """(N,) signed distance to the opening between the lids, of the nearer eye."""
    brow_along: Values
    """(N,) place along the brow, 0 at the nose and 1 at the temple."""
    brow_across: Values
    """(N,) place across it: 0 on its middle line, +-1 at its upper and lower edge."""
    hairline: Values
    """(N,) signed distance to the hairline, roughly; positive is scalp."""
    ear: Values
    """(N,) 1 on the ears, 0 elsewhere."""
    beard: Values
    """(N,) where a beard grows, 0 to 1."""
    eye_direction: Values
    """(N, 3) unit vector from the eyeball's centre; zero elsewhere."""

    def is_part(self, *names: str) -> NDArray[np.bool_]:
        """(N,) which texels belong to these parts."""
        return np.isin(self.part, [self.part_names.index(name) for name in names])

    def texture(self, values: NDArray[np.floating]) -> Values:
        """(N, C) -> (size, size, C), with the islands grown into the gaps between them."""
        return values.astype(np.float32)[self.nearest].reshape(self.size, self.size, -1)


@lru_cache(maxsize=2)
def load_canvas(size: int = 512) -> Canvas:
    """The open head's canvas of size x size texels. Made once a process."""
    head = load_open_head()
    face, barycentric, texels, nearest = _texels(head, size)
    template = head.template.numpy().astype(np.float32)
    corners = head.faces.numpy()[face]
    place = np.einsum("nk,nkc->nc", barycentric, template[corners]) * 1000
    part = head.part_of_face.numpy()[face]
    is_skin = part == head.part_names.index("skin")
    points = landmark_places(head)
    lips = _outside_of(place, points[list(_LIPS_OUTER)], is_skin & (place[:, 2] > 30))
    both = [points[list(_EYE_RIGHT)], points[list(_EYE_RIGHT)] * [-1, 1, 1]]
    front = is_skin & (place[:, 2] > 20)
    eyes = np.minimum(*(_outside_of(place, outline, front) for outline in both))
    mouth = head.template.numpy()[_ring(head, "mouth_socket")] * 1000
    along, across = _brow(place, points, front)
    scalp, ear = hairline(place)
    return Canvas(
        size=size,
        texels=texels,
        nearest=nearest,
        place=place,
        part=part,
        part_names=head.part_names,
        lips=lips,
        mouth_line=cKDTree(mouth).query(place)[0].astype(np.float32),
        eyes=eyes,
        brow_along=along,
        brow_across=across,
        hairline=np.where(is_skin, scalp, -99).astype(np.float32),
        ear=np.where(is_skin, ear, 0).astype(np.float32),
        beard=np.where(is_skin, beard_area(place, lips), 0).astype(np.float32),
        eye_direction=_eye_directions(head, place, part),
    )


def landmark_places(head: Head) -> NDArray[np.float64]:
    """(478, 3) MediaPipe's landmarks on the template in millimetres, made symmetric in x by the right half."""
    embedding = load_landmarks(head)
    places = np.full((478, 3), np.nan)
    places[embedding.indices.numpy()] = embedding.points(head.template, head.faces).numpy() * 1000
    return places


def hairline(place: NDArray[np.floating]) -> tuple[Values, Values]:
    """(...,) signed distance to the hairline and whether it is an ear, of places (..., 3) on the template in mm."""
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    smooth = np.interp(z, _HAIRLINE_Z, _HAIRLINE_Y)
    ear = ((x > 65.5) & (z > -64) & (z < 2) & (y < 38) & (y > -45)).astype(np.float32)
    distance = 0.7 * (y - smooth)
    # The hairline runs back over the temples.
    distance -= 6 * np.exp(-(((x - 42) / 14) ** 2)) * (z > 20)
    return np.where(ear > 0, -20, distance).astype(np.float32), ear


def beard_area(place: NDArray[np.floating], lips: NDArray[np.floating]) -> Values:
    """(...,) how much of a full beard grows at places (..., 3), 0 to 1; `lips` as in `Canvas`."""
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    # From the sideburns down the cheeks to the corners of the mouth, over the upper lip, and down to the throat.
    top = np.interp(x, [0, 10, 24, 36, 52, 64, 70], [-36, -35, -34, -42, -36, -5, 10])
    area = _step(top - y, -1, 8) * _step(y, -118, -96) * _step(lips, 0.2, 2.0) * _step(z, -16, 2)
    bare = np.exp(-((x / 5.5) ** 2)) * _step(-y, 60, 62) * _step(y, -74, -68) * 0.4  # beside the soul patch
    below_lip = np.exp(-(((x - 15) / 8) ** 2)) * np.exp(-(((y + 68) / 6) ** 2)) * 0.7
    is_ear = (x > 65.5) & (z > -64) & (z < 2) & (y < 38)
    return (area * (1 - bare * 0) * (1 - below_lip) * (~is_ear)).astype(np.float32)


def _texels(head: Head, size: int) -> tuple[NDArray[np.int64], Values, NDArray[np.int64], NDArray[np.int64]]:
    """Face (N,), barycentric (N, 3), index (N,) of the texels on the head; and for every texel the nearest of them."""
    target = Target(size, size, perspective=False)
    uv = head.uv_coordinates.numpy().astype(np.float32) * size
    target.draw(
        Mesh(np.concatenate([uv, np.ones((len(uv), 1), np.float32)], 1), head.uv_faces.numpy().astype(np.int32))
    )
    shown = target.shown(0)
    barycentric = np.concatenate([1 - shown.barycentric.sum(1, keepdims=True), shown.barycentric], 1)
    covered = np.zeros(size * size, bool)
    covered[shown.samples] = True
    _, (row, column) = distance_transform_edt(~covered.reshape(size, size), return_indices=True)
    order = np.cumsum(covered) - 1
    return shown.face.astype(np.int64), barycentric, shown.samples, order[(row * size + column).reshape(-1)]


def _outside_of(place: Values, outline: NDArray[np.float64], front: NDArray[np.bool_]) -> Values:
    """(N,) signed distance in the frontal plane to a closed outline (K, 3), with 99 where `front` is false."""
    result = np.full(len(place), 99, np.float32)
    points = place[front, :2].astype(np.float64)
    start = outline[:, :2]
    step = np.roll(start, -1, axis=0) - start
    nearest = np.full(len(points), np.inf)
    inside = np.zeros(len(points), bool)
    for a, b in zip(start, step, strict=True):
        offset = points - a
        part = np.clip(offset @ b / (b @ b), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(offset - part[:, None] * b, axis=1))
        crosses = (offset[:, 1] < 0) != (offset[:, 1] < b[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (offset[:, 0] < b[0] * offset[:, 1] / b[1])
    result[front] = np.where(inside, -nearest, nearest)
    return result


def _brow(place: Values, points: NDArray[np.float64], front: NDArray[np.bool_]) -> tuple[Values, Values]:
    upper = np.array([points[a, :2] for a, _ in _BROW_RIGHT]) * [-1, 1]
    lower = np.array([points[b, :2] for _, b in _BROW_RIGHT]) * [-1, 1]
    order = np.argsort(upper[:, 0])
    upper, lower = upper[order], lower[order]
    x, y = np.abs(place[:, 0]), place[:, 1]
    middle = np.interp(x, upper[:, 0], (upper[:, 1] + lower[:, 1]) / 2)
    half = np.interp(x, upper[:, 0], np.abs(upper[:, 1] - lower[:, 1]) / 2) + 0.8
    along = (x - upper[0, 0]) / (upper[-1, 0] - upper[0, 0])
    across = np.where(front, (y - middle) / half, 99)
    return along.astype(np.float32), across.astype(np.float32)


def _ring(head: Head, part: str) -> NDArray[np.int64]:
    """Vertices that the skin shares with a part."""
    faces = head.faces.numpy()
    of_part = np.unique(faces[head.part_faces(part).numpy()])
    return np.intersect1d(of_part, np.unique(faces[head.part_faces("skin").numpy()]))


def _eye_directions(head: Head, place: Values, part: NDArray[np.int64]) -> Values:
    centres = (head.joint_regressor @ head.template).numpy()[3:5] * 1000
    result = np.zeros_like(place)
    for name, centre in zip(("left_eye", "right_eye"), centres, strict=True):
        mine = part == head.part_names.index(name)
        offset = place[mine] - centre
        result[mine] = offset / np.linalg.norm(offset, axis=1, keepdims=True)
    return result


def _step(value: NDArray[np.floating], low: float, high: float) -> NDArray[np.floating]:
    """0 below `low`, 1 above `high`, smooth between."""
    part = np.clip((value - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


step = _step


def template_normals(head: Head) -> Values:
    """(V, 3) normals of the template."""
    return vertex_normals(head.template.numpy(), head.faces.numpy().astype(np.int32))
