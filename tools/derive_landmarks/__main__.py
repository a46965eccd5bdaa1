"""Derive the open head's landmark embedding.

    python -m tools.derive_landmarks

Draws painted heads of several people from several sides, lets MediaPipe find its 478 points, casts them back onto the
mesh and takes the geometric median of each over all pictures. The irises are not measured: they are known.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import mediapipe as mp
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from spatialavatar.head import Head, Motion, load_open_head
from tools.build_open_head.eyeballs import IRIS_RING, MERIDIANS
from tools.derive_landmarks.draw import View, rasterise, shade
from tools.derive_landmarks.paint import PALETTES, Paint
from tools.derive_landmarks.surface import closest_points

OUTPUT = Path(__file__).parents[2] / "src/spatialavatar/head/assets/open_head_landmarks.npz"
YAWS = (-0.55, -0.25, 0.0, 0.25, 0.55)
PITCHES = (-0.15, 0.15)
PEOPLE = 16
# Part of a head's spread that the people shown have: faces near the edge of the space are drawn less like faces.
SPREAD = 0.8
OPEN_MOUTHS = (0.0, 0.3, 0.6)
# A surface seen more obliquely than this tells little about where a point lies on it.
LEAST_COSINE = 0.3
# Pixels around a landmark that lies beside the skin in which to look for skin.
REACH = 8
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
OVAL += (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
# MediaPipe goes around both irises in the same sense: towards the subject's left, up, right, down. Quarters of the
# circle count from the meridian that points to the left on the left eyeball and to the right on its mirror image.
LEFT_EYE_QUARTERS, RIGHT_EYE_QUARTERS = (0, 1, 2, 3), (2, 1, 0, 3)


def observe(head: Head, people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Show MediaPipe painted heads.

    Returns:
        (K, 468, 3) places on the template of the landmarks in K pictures, NaN where one was not on visible skin,
        (K, 468) how squarely the surface faced the camera, and (468, 3) MediaPipe's points from the front, averaged.
    """
    paint = Paint(head)
    on_skin = paint.part == "skin"
    generator = torch.Generator().manual_seed(1)
    detector = mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1)
    places, cosines, frontal = [], [], []
    for person in range(people):
        identity = SPREAD * torch.randn(head.num_identities, generator=generator) * (person > 0)
        motion = Motion.neutral(1, head.num_expressions)
        motion.expression[0, head.expression_names.index("jawOpen")] = OPEN_MOUTHS[person % len(OPEN_MOUTHS)]
        vertices = head.pose(identity, motion)[0].double().numpy()
        palette = PALETTES[person % len(PALETTES)]
        for yaw, pitch in itertools.product(YAWS, PITCHES):
            view = View(yaw, pitch)
            fragments = rasterise(vertices, paint.faces, view)
            shown = fragments.face >= 0
            albedo = np.zeros((view.size, view.size, 3))
            albedo[shown] = paint.albedo(fragments.face[shown], fragments.barycentric[shown], palette)
            light = np.array([0.6 * np.sin(2.4 * person + yaw), 0.5, 1.0])
            found = detector.process(shade(vertices, paint.faces, fragments, albedo, light)).multi_face_landmarks
            if not found:
                continue
            points = np.array([(point.x, point.y, point.z) for point in found[0].landmark][:468]) * view.size
            if yaw == 0:
                frontal.append(points - points.mean(axis=0))
            usable = shown & on_skin[np.maximum(fragments.face, 0)]
            row, column = _nearest_usable(points[:, :2], usable)
            face = fragments.face[row, column]
            place = (paint.template[paint.faces[face]] * fragments.barycentric[row, column][..., None]).sum(axis=1)
            missed = np.hypot(column + 0.5 - points[:, 0], row + 0.5 - points[:, 1]) > REACH
            cosine = np.where(missed, 0, fragments.cosine[face])
            places.append(np.where(cosine[:, None] > LEAST_COSINE, place, np.nan))
            cosines.append(cosine)
    return np.stack(places), np.stack(cosines), np.mean(frontal, axis=0)


def _nearest_usable(points: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the usable pixel nearest to each point."""
    rows, columns = np.nonzero(usable)
    _, index = cKDTree(np.stack([columns + 0.5, rows + 0.5], axis=-1)).query(points)
    return rows[index], columns[index]


def geometric_median(places: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """(K, 3) points, (K,) weights -> (3,) median and the weighted median distance from it (Weiszfeld)."""
    valid = np.isfinite(places[:, 0])
    places, weights = places[valid], weights[valid]
    median = (places * weights[:, None]).sum(axis=0) / weights.sum()
    for _ in range(50):
        pull = weights / np.maximum(np.linalg.norm(places - median, axis=1), 1e-5)
        median = (places * pull[:, None]).sum(axis=0) / pull.sum()
    return median, float(np.median(np.linalg.norm(places - median, axis=1)))


def mirror_pairs(frontal: np.ndarray) -> np.ndarray:
    """(L, 3) MediaPipe's own points of a head seen from the front -> (L,) the landmark on each one's other side."""
    centred = frontal - frontal.mean(axis=0)
    distance = np.linalg.norm(centred[:, None] * [-1, 1, 1] - centred[None], axis=-1)
    _, pairs = linear_sum_assignment(distance**2 + distance.T**2)
    if (pairs[pairs] != np.arange(len(pairs))).any():
        raise SystemExit("the landmarks do not pair up")
    return pairs


def iris_points(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """(10,) faces and (10, 3) weights of both irises: centre, then the rim in MediaPipe's order."""
    faces, weights = [], []
    for part, quarters in (("right_eye", RIGHT_EYE_QUARTERS), ("left_eye", LEFT_EYE_QUARTERS)):
        mine = torch.nonzero(head.part_faces(part))[:, 0].numpy()
        corners = head.faces[mine].numpy()
        first = corners.min()
        ring = first + 1 + IRIS_RING * MERIDIANS
        for vertex in (first, *(ring + quarter * MERIDIANS // 4 for quarter in quarters)):
            face, corner = np.argwhere(corners == vertex)[0]
            faces.append(mine[face])
            weights.append(np.eye(3)[corner])
    return np.array(faces), np.array(weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--people", type=int, default=PEOPLE)
    arguments = parser.parse_args()
    head = load_open_head()
    places, cosines, frontal = observe(head, arguments.people)
    medians = [geometric_median(places[:, k], cosines[:, k] ** 2) for k in range(468)]
    points, spread = np.array([m for m, _ in medians]), np.array([s for _, s in medians])
    pairs = mirror_pairs(frontal)
    points = 0.5 * (points + points[pairs] * [-1, 1, 1])
    spread = 0.5 * (spread + spread[pairs])
    skin = torch.nonzero(head.part_faces("skin"))[:, 0].numpy()
    template, all_faces = head.template.double().numpy(), head.faces.numpy()
    face, weights, distance = closest_points(points, template[all_faces[skin]])
    faces = skin[face]
    print(f"{len(places)} pictures; spread of a landmark: median {1e3 * np.median(spread):.1f} mm,")
    print(f"distance of the median from the surface: at most {1e3 * distance.max():.1f} mm")
    trust = 1 / (1 + (spread / 2e-3) ** 2)
    # The outline slides with the view; brows are hair, which people wear at different heights on the bone.
    trust[list(OVAL)] *= 0.25
    trust[list(BROWS)] *= 0.6
    iris_faces, iris_weights = iris_points(head)
    np.savez(
        arguments.output,
        triangles=np.concatenate([faces, iris_faces]).astype(np.int32),
        barycentric=np.concatenate([weights, iris_weights]).astype(np.float32),
        indices=np.arange(478, dtype=np.int32),
        weights=np.concatenate([trust, np.array([1.0, 0.3, 0.3, 0.3, 0.3] * 2)]).astype(np.float32),
    )


if __name__ == "__main__":
    main()
