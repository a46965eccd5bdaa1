"""Cuts the bust out of MakeHuman's body: which quads, which parts, which triangles, and the left-right symmetry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from tools.build_open_head.makehuman import BaseMesh, MakeHuman

# The arms of the base mesh stand out at 45 degrees; people in portraits let them hang.
ARM_ROTATION = np.radians(-32.0)
# The bust ends at a level (decimetres, arms lowered) just above the armpits, so that its rim is one loop.
BUST_BOTTOM = 4.98
RIM_SMOOTHING = 6
PARTS = {
    "skin": "body",
    "mouth_socket": "body",
    "left_eye_socket": "body",
    "right_eye_socket": "body",
    "upper_teeth": "helper-upper-teeth",
    "lower_teeth": "helper-lower-teeth",
    "tongue": "helper-tongue",
}
SKIN_PARTS = tuple(name for name, group in PARTS.items() if group == "body")


@dataclass(frozen=True)
class Cut:
    """The bust without eyeballs, as indices into the base mesh."""

    vertices: np.ndarray
    """(N,) indices into the base mesh, ascending."""
    mirror: np.ndarray
    """(N,) index of the mirrored vertex in `vertices`."""
    quads: np.ndarray
    """(Q, 4) into `vertices`, sorted by part."""
    texture_quads: np.ndarray
    """(Q, 4) into the base mesh's texture coordinates."""
    part: np.ndarray
    """(Q,) index into `PARTS`."""
    positions: np.ndarray
    """(N, 3) base mesh with its arms lowered and its rim made smooth."""
    turns: np.ndarray
    """(N, 3, 3) how lowering the arms turns a displacement at each vertex."""


def lower_arms(makehuman: MakeHuman) -> tuple[np.ndarray, np.ndarray]:
    """Skin the base mesh with its upper arms turned down.

    Returns:
        (V, 3) vertices and (V, 3, 3) blended rotations.
    """
    vertices, weights, parents = makehuman.mesh.vertices, makehuman.bone_weights(), makehuman.bone_parents()

    def is_below(bone: str | None, ancestor: str) -> bool:
        return bone is not None and (bone == ancestor or is_below(parents.get(bone), ancestor))

    turns = np.tile(np.eye(3), (len(vertices), 1, 1))
    shifts = np.zeros_like(vertices)
    for side, sign in (("L", 1.0), ("R", -1.0)):
        weight = sum(w for bone, w in weights.items() if is_below(bone, f"upperarm01.{side}"))
        c, s = np.cos(sign * ARM_ROTATION), np.sin(sign * ARM_ROTATION)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        joint = makehuman.joint(f"{side.lower()}-shoulder")
        turns += weight[:, None, None] * (turn - np.eye(3))
        shifts += weight[:, None] * (joint - turn @ joint)
    return np.einsum("vij,vj->vi", turns, vertices) + shifts, turns


def cut_bust(makehuman: MakeHuman) -> Cut:
    """Choose what belongs to the head asset."""
    mesh = makehuman.mesh
    lowered, turns = lower_arms(makehuman)
    keep = np.zeros(len(mesh.vertices), bool)
    body = mesh.vertices_of("body")
    keep[body] = lowered[body, 1] > BUST_BOTTOM
    for group in set(PARTS.values()) - {"body"}:
        keep[mesh.vertices_of(group)] = True
    chosen = np.isin(mesh.groups, list(PARTS.values())) & keep[mesh.quads].all(axis=1)
    chosen = _without_ragged_quads(mesh, chosen)

    part = np.full(len(mesh.quads), -1)
    for index, group in enumerate(PARTS.values()):
        if group != "body":
            part[chosen & (mesh.groups == group)] = index
    names = list(PARTS)
    for island in _islands(mesh, chosen & (mesh.groups == "body")):
        part[island] = names.index(_name_of_island(mesh, island))
    order = np.flatnonzero(chosen)[np.argsort(part[chosen], kind="stable")]
    vertices = np.unique(mesh.quads[order])
    local = np.full(len(mesh.vertices), -1)
    local[vertices] = np.arange(len(vertices))
    mirror = local[_mirror(mesh.vertices)[vertices]]
    if (mirror < 0).any():
        raise SystemExit("the cut is not symmetric")
    quads = local[mesh.quads[order]]
    (rim,) = boundary_loops(quads[np.isin(mesh.groups[order], "body")])
    positions = lowered[vertices]
    positions[rim] = smooth_rim(positions[rim])
    return Cut(vertices, mirror, quads, mesh.texture_quads[order], part[order], positions, turns[vertices])


def triangulate(cut: Cut, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split each quad along its shorter diagonal, the same way on both sides of the head.

    At a corner of a rim the diagonal goes through the corner, whatever its length: a triangle with all three vertices
    on a straight rim has no area in the UV map.

    Args:
        cut: The quads.
        positions: (N, 3) template.

    Returns:
        (2 Q, 3) vertex and (2 Q, 3) texture indices, and (2 Q,) parts; the two triangles of a quad follow each other.
    """
    # A quad and its mirror image must agree, so the left one decides for both.
    key_of = {frozenset(quad): index for index, quad in enumerate(cut.quads.tolist())}
    twin = np.array([key_of[frozenset(cut.mirror[quad].tolist())] for quad in cut.quads])
    first = np.linalg.norm(positions[cut.quads[:, 0]] - positions[cut.quads[:, 2]], axis=1)
    second = np.linalg.norm(positions[cut.quads[:, 1]] - positions[cut.quads[:, 3]], axis=1)
    takes_first = first <= second
    at_corner = np.bincount(cut.quads.ravel())[cut.quads] == 1
    takes_first = np.where(at_corner.any(axis=1), at_corner[:, [0, 2]].any(axis=1), takes_first)
    for index, other in enumerate(twin):
        if other == index or positions[cut.quads[index], 0].sum() < 0:
            continue
        chosen = cut.quads[index][[0, 2]] if takes_first[index] else cut.quads[index][[1, 3]]
        mirrored = set(cut.mirror[chosen].tolist())
        takes_first[other] = mirrored == set(cut.quads[other][[0, 2]].tolist())
    along_first = np.array([[0, 1, 2], [0, 2, 3]])
    along_second = np.array([[1, 2, 3], [1, 3, 0]])
    corners = np.where(takes_first[:, None, None], along_first, along_second)
    rows = np.arange(len(cut.quads))[:, None, None]
    faces = cut.quads[rows, corners].reshape(-1, 3)
    texture_faces = cut.texture_quads[rows, corners].reshape(-1, 3)
    return faces, texture_faces, np.repeat(cut.part, 2)


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """The boundary of an oriented mesh as closed loops of vertices, in the direction of its faces."""
    n = faces.shape[1]
    edges = np.concatenate([faces[:, [i, (i + 1) % n]] for i in range(n)])
    present = set(map(tuple, edges.tolist()))
    following = {a: b for a, b in edges.tolist() if (b, a) not in present}
    loops = []
    while following:
        start = min(following)
        loop = [start]
        while (after := following.pop(loop[-1])) != start:
            loop.append(after)
        loops.append(np.array(loop))
    return loops


def _mirror(vertices: np.ndarray) -> np.ndarray:
    """(V,) the vertex on the other side of x = 0; the base mesh is exactly symmetric."""
    distance, index = cKDTree(vertices).query(vertices * [-1, 1, 1])
    if distance.max() > 1e-6:
        raise SystemExit("the base mesh is not symmetric")
    return index


def smooth_rim(loop: np.ndarray) -> np.ndarray:
    """Even out a closed loop (L, 3) and lay it into the level plane of its lower quarter."""
    loop = loop.copy()
    loop[:, 1] = np.quantile(loop[:, 1], 0.25)
    for _ in range(RIM_SMOOTHING):
        loop = 0.5 * loop + 0.25 * (np.roll(loop, 1, axis=0) + np.roll(loop, -1, axis=0))
    return loop


def _without_ragged_quads(mesh: BaseMesh, chosen: np.ndarray) -> np.ndarray:
    """Drop body quads that hang on one edge only, until none is left: a smooth rim for the UV map and the eye."""
    chosen = chosen.copy()
    is_body = mesh.groups == "body"
    while True:
        index = np.flatnonzero(chosen & is_body)
        edges = np.sort(np.stack([mesh.quads[index], np.roll(mesh.quads[index], -1, axis=1)], axis=-1), axis=-1)
        flat = edges.reshape(-1, 2)
        _, inverse, counts = np.unique(flat, axis=0, return_inverse=True, return_counts=True)
        neighbours = (counts[inverse.ravel()] == 2).reshape(-1, 4).sum(axis=1)
        ragged = index[neighbours <= 1]
        if len(ragged) == 0:
            return chosen
        chosen[ragged] = False


def _islands(mesh: BaseMesh, chosen: np.ndarray) -> list[np.ndarray]:
    """Quads that hang together in the texture, as index arrays."""
    index = np.flatnonzero(chosen)
    quads = mesh.texture_quads[index]
    count = len(mesh.texture)
    edges = np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    labels = label[quads[:, 0]]
    return [index[labels == value] for value in np.unique(labels)]


def _name_of_island(mesh: BaseMesh, island: np.ndarray) -> str:
    """Tell the skin from the mouth and eye sockets, which lie inside the head, by place."""
    centre = mesh.vertices[mesh.quads[island]].mean(axis=(0, 1))
    extent = np.ptp(mesh.vertices[mesh.quads[island]].reshape(-1, 3), axis=0)
    if extent[0] > 1.2:
        return "skin"
    if abs(centre[0]) < 0.05:
        return "mouth_socket"
    return "left_eye_socket" if centre[0] > 0 else "right_eye_socket"
