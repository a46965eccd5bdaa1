"""How near the tracker comes to the truth, on made-up people (`spatialavatar synth monocular`).

python benchmarks/tracking_truth.py sets/monocular --people 4                      # MediaPipe's landmarks
python benchmarks/tracking_truth.py sets/monocular --people 4 --landmarks true     # the mesh's own
python benchmarks/tracking_truth.py sets/monocular --people 4 --photometric        # with the photometric stage
python benchmarks/tracking_truth.py sets/monocular --people 4 --lens true          # the camera's focal length is known
python benchmarks/tracking_truth.py sets/monocular --people 4 --landmarks true --fit outline=0 contour=0

Mattes are the set's. Vertices are those of the face (skin in front of the ears, above the chin). "rotation" is by how
much these are turned in the camera's frame, as they are seen. What the joints say of it also counts what belongs to the
person's shape: a face that leans forward on its skull and a nod are the same picture.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from changes import changed

from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle
from spatialavatar.sequence.folder import read_sequence
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import in_camera, project
from spatialavatar.track.faces import FaceMeshFinder
from spatialavatar.track.loss import FitConfig
from spatialavatar.track.observe import Observations
from spatialavatar.track.outline import matte_contour, padded_contour
from spatialavatar.track.photometric import PhotometricConfig, fit_photometric
from spatialavatar.track.torso import torso_view
from spatialavatar.track.tracker import fit_sequence

SHUT = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--landmarks", choices=["found", "true"], default="found")
    parser.add_argument("--noise", type=float, default=0.0, help="pixels, added to true landmarks")
    parser.add_argument("--photometric", action="store_true")
    parser.add_argument("--lens", choices=["found", "true"], default="found")
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE", help="numbers of the fit (FitConfig)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = changed(FitConfig(), arguments.fit)
    head = load_open_head()
    results = []
    for folder in sorted(path for path in arguments.set.iterdir() if path.is_dir())[: arguments.people]:
        truth = read_sequence(next(camera for camera in sorted(folder.iterdir()) if camera.is_dir()))
        points = true_points(truth, head, arguments.noise) if arguments.landmarks == "true" else found_points(truth)
        true_focal = float(truth.intrinsics[0, 0, 0]) / max(truth.width, truth.height)
        known = replace(config, known_focal=true_focal) if arguments.lens == "true" else config
        tracked = fit_sequence(observations(truth, points), head, known)
        tracked = replace(tracked, frames=truth.frames, folder=truth.folder)
        if arguments.photometric:
            pixels = PhotometricConfig(known_lens=arguments.lens == "true")
            tracked = fit_photometric(tracked, head, pixels, lambda *_: None)
        results.append({"person": folder.name, **errors(tracked, truth, head)})
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    means = {key: round(float(np.mean([r[key] for r in results])), 3) for key in results[0] if key != "person"}
    json.dump({"people": len(results), "mean": means, "each": results}, sys.stdout, indent=2)
    print()


def found_points(truth: TrackedSequence) -> np.ndarray:
    """(T, 478, 3) as MediaPipe finds them, NaN where it finds none."""
    finder = FaceMeshFinder(still=True)
    faces = [finder.find(truth.image(k).numpy(), fresh=True) for k in range(len(truth))]
    finder.close()
    missing = np.full((478, 3), np.nan, np.float32)
    return np.stack([missing if face is None else face.points for face in faces])


def true_points(truth: TrackedSequence, head: Head, noise: float) -> np.ndarray:
    """(T, 478, 3) where the mesh has them."""
    embedding = load_landmarks(head)
    vertices = head.pose(truth.identity, truth.motion)
    at = embedding.points(vertices, head.faces)
    pixels, depths = project(at, truth.camera_from_world, truth.intrinsics)
    scale = truth.intrinsics[:, 0, 0] / depths.mean(1)
    points = np.full((len(truth), 478, 3), np.nan, np.float32)
    depth = (depths - depths.mean(1, keepdim=True)) * scale[:, None]
    points[:, embedding.indices] = torch.cat([pixels, depth[..., None]], -1).numpy()
    return points + np.random.default_rng(0).normal(0, noise, points.shape).astype(np.float32)


def observations(truth: TrackedSequence, points: np.ndarray) -> Observations:
    """The set's pictures and mattes as the tracker would have seen them."""
    contours, torsos = [], []
    seen = np.flatnonzero(np.isfinite(points[:, 0, 0]))
    for k in range(len(truth)):
        image, matte = truth.image(k).numpy(), truth.matte(k).numpy()
        near = points[seen[np.abs(seen - k).argmin()], :, :2]
        contours.append(padded_contour(matte_contour(image, matte, near)))
        torsos.append(torso_view(image, matte, near))
    count = len(truth)
    # The sets' pictures are crops, some of them off the lens's axis; whoever crops a picture knows where it lay.
    corners = truth.width / 2 - truth.intrinsics[:, :2, 2].double().numpy()
    return Observations(
        kind="video",
        names=truth.names,
        size=truth.width,
        frame_rate=truth.frame_rate,
        landmarks=points,
        contours=np.stack(contours),
        torsos=tuple(torsos),
        corners=corners,
        scales=np.ones(count),
        image_sizes=np.full((count, 2), float(truth.width)),
        warnings=(),
    )


@torch.no_grad()
def errors(tracked: TrackedSequence, truth: TrackedSequence, head: Head) -> dict[str, float]:
    """Medians over frames with a face."""
    frames = torch.nonzero(tracked.is_valid)[:, 0]
    found, true = face_in_camera(tracked, head)[frames], face_in_camera(truth, head)[frames]
    between = head_rotations(tracked)[frames] @ head_rotations(truth)[frames].mT
    apart = axis_angle_from_rotation_matrix(between)
    scale = (found * true).sum() / found.square().sum()
    centred = [points - points.mean(1, keepdim=True) for points in (found, true)]
    own_scale = (centred[0] * centred[1]).sum() / centred[0].square().sum()
    turned = axis_angle_from_rotation_matrix(rotations_between(*centred)).norm(dim=1)
    names = head.expression_names
    jaw = (tracked.motion.expression - truth.motion.expression)[frames, names.index("jawOpen")] * jaw_degrees(head)
    lids = [names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]
    shut = [motion.expression[frames][:, lids].mean(1) > SHUT for motion in (tracked.motion, truth.motion)]
    degrees = 180 / np.pi
    return {
        "frames": len(frames),
        "rotation, degrees": float(turned.median()) * degrees,
        "rotation, degrees, 95 %": float(turned.quantile(0.95)) * degrees,
        "rotation of the joints, degrees": float(apart.norm(dim=1).median()) * degrees,
        "rotation of the joints but for a constant, degrees": float(
            (apart - apart.median(0).values).norm(dim=1).median()
        )
        * degrees,
        "vertices in the camera after scale, mm": float((found * scale - true).norm(dim=-1).mean(1).median()) * 1000,
        "vertices about the face's middle after scale, mm": float(
            (centred[0] * own_scale - centred[1]).norm(dim=-1).mean(1).median()
        )
        * 1000,
        "focal length over the true one": float(tracked.intrinsics[0, 0, 0] / truth.intrinsics[0, 0, 0]),
        "jaw, degrees": float(jaw.abs().median()),
        "jaw, degrees, 95 %": float(np.percentile(jaw.abs().numpy(), 95)),
        "blinks agree, %": 100 * float((shut[0] == shut[1]).float().mean()),
        "true blinks": int(shut[1].sum()),
    }


def rotations_between(found: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """(T, 3, 3) rotations that take the (T, N, 3) true points best onto the found ones, both about their middles."""
    u, _, vt = torch.linalg.svd(true.mT @ found)
    mirrored = torch.linalg.det(vt.mT @ u.mT)
    signs = torch.stack([torch.ones_like(mirrored), torch.ones_like(mirrored), mirrored], -1)
    return vt.mT @ (signs[..., None] * u.mT)


def face_in_camera(sequence: TrackedSequence, head: Head) -> torch.Tensor:
    """(T, N, 3) vertices of the face in the camera's axes, metres."""
    vertices = head.pose(sequence.identity, sequence.motion)[:, face_vertices(head)]
    return in_camera(vertices, sequence.camera_from_world)


def face_vertices(head: Head) -> torch.Tensor:
    """Skin in front of the ears and above the chin."""
    embedding = load_landmarks(head)
    points = embedding.points(head.template, head.faces)
    face = points[embedding.indices < 468]
    low, high = face.min(0).values, face.max(0).values
    inside = ((head.template >= low) & (head.template <= high)).all(1)
    skin = torch.zeros(len(head.template), dtype=torch.bool)
    skin[head.faces[head.part_of_face == head.part_names.index("skin")].flatten()] = True
    return torch.nonzero(inside & skin)[:, 0]


def head_rotations(sequence: TrackedSequence) -> torch.Tensor:
    """(T, 3, 3) of the head in the camera's axes."""
    motion = sequence.motion
    body = rotation_matrix_from_axis_angle(motion.global_rotation)
    return sequence.camera_from_world[:, :3, :3] @ body @ rotation_matrix_from_axis_angle(motion.neck_rotation)


def jaw_degrees(head: Head) -> float:
    """By how much jawOpen at 1 turns the lower teeth."""
    motion = Motion.neutral(2, head.num_expressions)
    motion.expression[1, head.expression_names.index("jawOpen")] = 1
    teeth = torch.unique(head.faces[head.part_of_face == head.part_names.index("lower_teeth")])
    shut, wide = (points - points.mean(0) for points in head.pose(torch.zeros(1), motion)[:, teeth])
    return float(axis_angle_from_rotation_matrix(rotations_between(shut, wide)).norm()) * 180 / np.pi


if __name__ == "__main__":
    main()
