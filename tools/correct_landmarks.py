"""Correct the landmark embedding by people it was tracked on.

    python -m tools.correct_landmarks a.tracked b.tracked ...

Painted heads teach where MediaPipe sees its points on painted heads. On real faces some points lie elsewhere, by about
a millimetre, and on the same side for nearly everyone. For each person the offset in the head's frame is found that
explains best, over all frames, how far the points found lie beside the mesh's; the median over people, made symmetric,
moves each point along the skin. Irises are known, and stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from spatialavatar.files import write_atomically
from spatialavatar.head import Head, load_open_head
from spatialavatar.head.landmarks import RIGHT_IRIS, LandmarkEmbedding, load_landmarks
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.sequence import read_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.track.measure import landmark_error
from tools.derive_landmarks.surface import closest_points

OUTPUT = Path(__file__).parents[1] / "src/spatialavatar/head/assets/open_head_landmarks.npz"
# Pulls offsets along the line of sight, which few turns of the head reveal, to zero.
RIDGE = 0.05


def personal_offsets(sequence: TrackedSequence, head: Head, embedding: LandmarkEmbedding) -> Tensor:
    """(L, 3) metres in the head's frame by which the landmarks of one person lie beside the embedding's."""
    assert sequence.landmarks is not None
    needed, corners = embedding.vertices(head.faces)
    posed = head.restrict(needed).pose(sequence.identity, sequence.motion)
    points = embedding.points_from_restricted(posed, corners)
    rotation, shift = sequence.camera_from_world[:, :3, :3], sequence.camera_from_world[:, :3, 3]
    camera = points @ rotation.mT + shift[:, None]
    focal = sequence.intrinsics[:, 0, 0][:, None, None]
    pixels = camera[..., :2] / camera[..., 2:] * focal + sequence.intrinsics[:, None, :2, 2]
    found = sequence.landmarks[:, embedding.indices]
    used = sequence.is_valid & found.isfinite().flatten(1).all(1)
    beside = ((found - pixels) * camera[..., 2:] / focal)[used]  # metres, in the plane of the image
    turned = rotation_matrix_from_axis_angle(sequence.motion.global_rotation)
    turned = rotation @ turned @ rotation_matrix_from_axis_angle(sequence.motion.neck_rotation)
    seen = turned[used, :2]  # (T, 2, 3): of an offset in the head's frame, what the image shows
    normal = torch.einsum("tki,tkj->ij", seen, seen) + RIDGE * len(seen) * torch.eye(3)
    return torch.linalg.solve(normal, torch.einsum("tki,tlk->il", seen, beside)).T


def mirrored(points: Tensor) -> Tensor:
    """(L, 3) points of a symmetric embedding at rest -> (L,) the point on each one's other side."""
    cost = torch.cdist(points * torch.tensor([-1.0, 1.0, 1.0]), points).numpy() ** 2
    return torch.from_numpy(linear_sum_assignment(cost + cost.T)[1])


def correct(head: Head, embedding: LandmarkEmbedding, offsets: Tensor) -> LandmarkEmbedding:
    """Move the embedding's points by (L, 3) offsets at rest, to the nearest point of the skin."""
    points = embedding.points(head.template, head.faces)
    both = 0.5 * (offsets + offsets[mirrored(points)] * torch.tensor([-1.0, 1.0, 1.0]))
    skin = torch.nonzero(head.part_faces("skin"))[:, 0]
    target = (points + both).double().numpy()
    face, weights, _ = closest_points(target, head.template.double().numpy()[head.faces[skin].numpy()])
    triangles, barycentric = skin[torch.from_numpy(face)], torch.from_numpy(weights).float()
    known = embedding.indices >= RIGHT_IRIS
    triangles[known], barycentric[known] = embedding.triangles[known], embedding.barycentric[known]
    return LandmarkEmbedding(triangles, barycentric, embedding.indices, embedding.weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="tracked folders of different people")
    parser.add_argument("--rounds", type=int, default=1, help="how often offsets are measured anew (default: 1)")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    head = load_open_head()
    before = embedding = load_landmarks(head)
    people = [read_sequence(folder) for folder in options.folders]
    for _ in range(options.rounds):
        offsets = torch.stack([personal_offsets(person, head, embedding) for person in people])
        embedding = correct(head, embedding, offsets.median(0).values)
    for folder, person in zip(options.folders, people, strict=True):
        first, second = (landmark_error(person, head, which).median for which in (before, embedding))
        print(f"{folder.name:32s} {first:.4f} -> {second:.4f}")
    with write_atomically(options.output) as path, path.open("wb") as stream:
        np.savez(
            stream,
            triangles=embedding.triangles.numpy().astype(np.int32),
            barycentric=embedding.barycentric.numpy(),
            indices=embedding.indices.numpy().astype(np.int32),
            weights=embedding.weights.numpy(),
        )
    print(f"Embedding: {options.output}")


if __name__ == "__main__":
    main()
