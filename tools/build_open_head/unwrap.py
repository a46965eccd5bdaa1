"""The UV map: where each part lies in the square and how many pixels it gets.

The skin with its sockets is one disk: cut open along the middle of the back of the head and laid into a rectangle as
wide as the picture, face in the middle, rim at the bottom. Below it in one row: eyeballs, teeth and tongue. Skin
and eyeballs are exactly symmetric: turning the picture over left to right turns the head over.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from tools.build_open_head import slim
from tools.build_open_head.cut import boundary_loops
from tools.build_open_head.density import skin_areas
from tools.build_open_head.embed import areas, embed_disk, symmetrise
from tools.build_open_head.eyeballs import MERIDIANS, RINGS

SIZE = 256
# Rectangles (left, top, right, bottom) in pixels.
RECTANGLES = {
    "skin": (2.0, 2.0, 254.0, 200.0),
    "right_eye": (2.0, 207.0, 46.0, 251.0),
    "upper_teeth": (52.0, 210.0, 170.0, 226.0),
    "lower_teeth": (52.0, 231.0, 170.0, 247.0),
    "tongue": (174.0, 206.0, 204.0, 252.0),
    "left_eye": (210.0, 207.0, 254.0, 251.0),
}
# Share of the tongue's outline that bounds its upper side.
UPPER_TONGUE = 0.66
SPRING_STEPS = 12
SHAPE_STEPS = 10
AREA_ROUNDS = 4
AREA_INSISTENCE = 0.5
# Coordinates are stored on this grid: a 256th of a pixel, far above the rounding of the solver.
GRID = 65536


def unwrap(
    positions: np.ndarray,
    mirror: np.ndarray,
    faces: np.ndarray,
    texture: np.ndarray,
    texture_faces: np.ndarray,
    part: np.ndarray,
    names: list[str],
    rim_corners: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Lay out all parts.

    Args:
        positions: (V, 3) template in the head's frame, metres.
        mirror: (V,) mirrored vertex.
        faces: (F, 3).
        texture: (T, 2) MakeHuman's texture coordinates: only where they cut the tongue open is used.
        texture_faces: (F, 3) into `texture`.
        part: (F,) index into `names`.
        names: Names of the parts.
        rim_corners: Vertices that belong to a single quad.

    Returns:
        (T', 2) coordinates in [0, 1], v downwards, and (F, 3) indices into them.
    """
    coordinates, indices, total = [], np.full((len(faces), 3), -1), 0
    skin_parts = [names.index(name) for name in ("skin", "mouth_socket", "left_eye_socket", "right_eye_socket")]
    for name, rectangle in RECTANGLES.items():
        chosen = np.isin(part, skin_parts if name == "skin" else [names.index(name)])
        if name == "skin":
            wanted = skin_areas(positions, faces[chosen], part[chosen], names)
            chart, corners = _skin_chart(positions, mirror, faces[chosen], wanted, rectangle)
        elif name.endswith("_eye"):
            chart, corners = _eye_chart(faces[chosen], rectangle, mirrored=name == "right_eye")
        elif name == "tongue":
            chart, corners = _tongue_chart(positions, mirror, faces[chosen], texture, texture_faces[chosen], rectangle)
        else:
            chart, corners = _teeth_chart(positions, mirror, faces[chosen], rim_corners, rectangle)
        # From x = 0 in the middle and y up to columns and rows.
        coordinates.append(np.stack([chart[:, 0] + SIZE / 2, rectangle[3] - chart[:, 1]], axis=-1))
        indices[chosen] = corners + total
        total += len(chart)
    # Rounded about the middle, so that the symmetry stays exact.
    offset = np.concatenate(coordinates) / SIZE - [0.5, 0.0]
    return np.round(offset * GRID) / GRID + [0.5, 0.0], indices


def _skin_chart(positions, mirror, faces, wanted, rectangle):
    """Cut the back of the head open and flatten; (V', 2) chart with x = 0 in the middle and y up, and (F, 3)."""
    width, height = rectangle[2] - rectangle[0], rectangle[3] - rectangle[1]
    (rim,) = boundary_loops(faces)
    seam = _back_seam(positions, mirror, faces, rim)
    # Vertices of the seam below its end exist twice: the old ones on the left side (x > 0), new ones on the right.
    copies = len(positions) + np.arange(len(seam) - 1)
    all_positions = np.concatenate([positions, positions[seam[:-1]]])
    all_mirror = np.concatenate([mirror, seam[:-1]])
    all_mirror[seam[:-1]] = copies
    faces = faces.copy()
    is_right = positions[faces].mean(axis=1)[:, 0] < 0
    for old, new in zip(seam[:-1], copies, strict=True):
        faces[is_right[:, None] & (faces == old)] = new

    along = _along(positions[seam])
    corner = int(np.abs(along - height / (height + width / 2)).argmin())
    outline = {}
    for index, vertex in enumerate(seam):
        if index <= corner:
            outline[vertex] = (width / 2, height * along[index] / along[corner])
        else:
            share = (along[index] - along[corner]) / (1 - along[corner])
            outline[vertex] = (width / 2 * (1 - share), height)
    for old, new in zip(seam[:-1], copies, strict=True):
        outline[new] = (-outline[old][0], outline[old][1])
    bottom = np.roll(rim, -int(np.flatnonzero(rim == seam[0])[0]))
    if positions[bottom[1], 0] < 0:
        bottom = np.concatenate([bottom[:1], bottom[:0:-1]])
    bottom = np.append(bottom, copies[0])
    for vertex, share in zip(bottom[1:-1], _along(all_positions[bottom])[1:-1], strict=True):
        outline[vertex] = (width / 2 - width * share, 0.0)
    return _flatten(all_positions, all_mirror, faces, wanted, outline)


def _back_seam(positions, mirror, faces, rim):
    """Vertices of the middle line from the rim up the back of the head to its highest point."""
    middle = set(np.flatnonzero(mirror == np.arange(len(mirror))).tolist())
    neighbours: dict[int, set[int]] = {}
    for a, b in np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist():
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    rim = set(rim.tolist())
    (start,) = (v for v in rim & middle if positions[v, 2] < 0)
    seam = [start]
    while True:
        (after,) = (v for v in neighbours[seam[-1]] & middle if v not in seam and v not in rim)
        if positions[seam[-1], 1] > 0.05 and positions[after, 1] < positions[seam[-1], 1]:
            return np.array(seam)
        seam.append(after)


def _flatten(positions, mirror, faces, wanted, outline):
    """Springs first, then shape; boundary vertices may slide along the sides of the rectangle but not off its corners.

    Returns:
        (V', 2) chart of the used vertices, and (F, 3) indices into it.
    """
    used, corners = np.unique(faces, return_inverse=True)
    corners = corners.reshape(-1, 3)
    local = np.full(len(positions), -1)
    local[used] = np.arange(len(used))
    symmetry = local[mirror[used]]
    (loop,) = boundary_loops(corners)
    polygon = np.array([outline[vertex] for vertex in used[loop]])
    turn = _signed_area(polygon)
    wanted = wanted * (abs(turn) / wanted.sum())
    plane = embed_disk(corners, positions[used], wanted, loop, polygon, symmetry, SPRING_STEPS)

    free = np.ones((len(used), 2), bool)
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    free[loop] = (polygon > low + 1e-9) & (polygon < high - 1e-9)
    on_axis = symmetry == np.arange(len(used))
    free[on_axis, 0] = False
    # The relaxation wants counter-clockwise triangles.
    ordered = corners if turn > 0 else corners[:, ::-1]
    asked = wanted
    for _ in range(AREA_ROUNDS):
        rest = _rest_shapes(positions[used][ordered], asked)
        plane = symmetrise(slim.relax(ordered, rest, asked, plane, free, SHAPE_STEPS), symmetry)
        # Shape and area pull against each other: who got too little asks for more.
        asked = asked * (wanted / areas(plane[corners])) ** AREA_INSISTENCE
        asked = asked * (wanted.sum() / asked.sum())
    return plane, corners


def _rest_shapes(corners, wanted):
    """(F, 2, 2) edge vectors of each triangle laid into the plane and scaled to its wanted area."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.linalg.norm(first, axis=1)
    along = (first * second).sum(axis=1) / length
    # A sliver of the mesh must not ask for a sliver of the picture.
    above = np.maximum(np.linalg.norm(np.cross(first, second), axis=1) / length, 0.15 * length)
    rest = np.zeros((len(corners), 2, 2))
    rest[:, 0, 0], rest[:, 0, 1], rest[:, 1, 1] = length, along, above
    return rest * np.sqrt(wanted / (0.5 * length * above))[:, None, None]


def _eye_chart(faces: np.ndarray, rectangle: tuple, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """The eyeball seen from the front, spread so that what lids can uncover gets nearly all of the disk."""
    # Iris, white and the hidden back against the disk's radius.
    radius = np.interp([0, *RINGS], [0, 23.2, 65.0, 180.0], [0, 0.45, 0.86, 1.0])
    meridians = 2 * np.pi * np.arange(MERIDIANS) / MERIDIANS
    # The back pole is one vertex of the mesh, and one of the chart for each triangle there.
    rings = [r * _circle(meridians) for r in radius[1:]] + [_circle(meridians + np.pi / MERIDIANS)]
    chart = np.concatenate([np.zeros((1, 2)), *rings])
    corners = faces - faces.min()
    pole = corners.max()
    last_ring = pole - MERIDIANS
    for row in np.flatnonzero((corners == pole).any(axis=1)):
        first, second = np.sort(corners[row])[:2] - last_ring
        # Meridians of the triangle: k and k + 1, or the last one and 0.
        corners[row][corners[row] == pole] = pole + (first if second == first + 1 else second)
    if mirrored:
        chart = chart * [-1, 1]
    left, top, right, bottom = rectangle
    return [(left + right - SIZE) / 2, (bottom - top) / 2] + chart * (right - left) / 2, corners


def _circle(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _teeth_chart(
    positions: np.ndarray, mirror: np.ndarray, faces: np.ndarray, rim_corners: np.ndarray, rectangle: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """A strip of quads, four of whose vertices are in one quad only: the corners of the rectangle."""
    width, height = rectangle[2] - rectangle[0], rectangle[3] - rectangle[1]
    (loop,) = boundary_loops(faces)
    corners = np.flatnonzero(np.isin(loop, rim_corners))
    # Counter-clockwise the bottom runs from the right half of the mouth (x < 0) to the left half: start there.
    following = np.roll(corners, -1)
    sides = [np.roll(loop, -a)[: (b - a) % len(loop) + 1] for a, b in zip(corners, following, strict=True)]
    spans = [positions[side[-1], 0] - positions[side[0], 0] for side in sides]
    first = int(np.argmax(spans))
    ends = np.array([(0, 0), (width, 0), (width, height), (0, height), (0, 0)]) - [width / 2, 0]
    outline = {}
    for number in range(4):
        side = sides[(first + number) % 4]
        share = _along(positions[side])[:, None]
        points = ends[number] * (1 - share) + ends[number + 1] * share
        outline.update(zip(side[:-1].tolist(), map(tuple, points[:-1]), strict=True))
    wanted = areas(positions[faces])
    chart, indices = _flatten(positions, mirror, faces, wanted, outline)
    return _moved(chart, rectangle), indices


def _tongue_chart(
    positions: np.ndarray,
    mirror: np.ndarray,
    faces: np.ndarray,
    texture: np.ndarray,
    texture_faces: np.ndarray,
    rectangle: tuple,
) -> tuple[np.ndarray, np.ndarray]:
    """The tongue cut along its edge, all but the back, and folded open: its upper side below, its underside above."""
    width, height = rectangle[2] - rectangle[0], rectangle[3] - rectangle[1]
    vertex_of = np.zeros(len(texture), int)
    vertex_of[texture_faces] = faces
    used = np.unique(texture_faces)
    middle = texture[used[mirror[vertex_of[used]] == vertex_of[used]], 0].mean()
    distance, twin = cKDTree(texture[used]).query(texture[used] * [-1, 1] + [2 * middle, 0])
    flipped = np.arange(len(texture))
    flipped[used] = used[twin]
    if distance.max() > 2e-3 or (vertex_of[flipped[used]] != mirror[vertex_of[used]]).any():
        raise SystemExit("the tongue's texture is not symmetric")

    (loop,) = boundary_loops(texture_faces)
    tips = np.flatnonzero(flipped[loop] == loop)
    # The upper tip is where the loop passes from the right half (x < 0) to the left.
    (upper,) = (t for t in tips if positions[vertex_of[loop[(t + 1) % len(loop)]], 0] > 0)
    loop = np.roll(loop, -upper)
    half = loop[: len(loop) // 2 + 1]
    count = np.bincount(vertex_of[loop], minlength=len(positions))
    (fold,) = np.flatnonzero(count[vertex_of[half[1:-1]]] == 1) + 1
    folded = _along(positions[vertex_of[half]])
    # From the upper tip around the left side to the lower one; the underside gets less.
    perimeter = width + height
    walk = np.interp(folded, [0, folded[fold], 1], [0, UPPER_TONGUE * perimeter, perimeter])
    for corner in (width / 2, width / 2 + height):
        walk[np.abs(walk - corner).argmin()] = corner
    across = np.interp(walk, [0, width / 2, width / 2 + height, perimeter], [0, width / 2, width / 2, 0])
    up = np.interp(walk, [0, width / 2, width / 2 + height, perimeter], [0, 0, height, height])
    outline = {}
    for vertex, x, y in zip(half.tolist(), across, up, strict=True):
        outline[int(flipped[vertex])] = (-x, y)
        outline[vertex] = (x, y)
    points = positions[vertex_of]
    normals = np.cross(*(points[texture_faces[:, k]] - points[texture_faces[:, 0]] for k in (1, 2)))
    wanted = areas(points[texture_faces]) * np.where(normals[:, 1] > 0, 1.0, 0.4)
    chart, indices = _flatten(points, flipped, texture_faces, wanted, outline)
    return _moved(chart, rectangle), indices


def _moved(chart: np.ndarray, rectangle: tuple) -> np.ndarray:
    """A chart whose middle is x = 0 to the rectangle's middle."""
    return chart + np.array([(rectangle[0] + rectangle[2] - SIZE) / 2, 0])


def _along(points: np.ndarray) -> np.ndarray:
    """(N,) distance walked along a path of points, from 0 to 1."""
    walked = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return walked / walked[-1]


def _signed_area(polygon: np.ndarray) -> float:
    following = np.roll(polygon, -1, axis=0)
    return float(0.5 * (polygon[:, 0] * following[:, 1] - polygon[:, 1] * following[:, 0]).sum())
