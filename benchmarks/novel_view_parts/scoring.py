"""An avatar's pictures held against what other cameras saw: one row of figures a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.framing import head_centers
from spatialavatar.evaluate.pixels import PSNR_CEILING
from spatialavatar.evaluate.view_angles import band_of, nearest_angles, view_directions
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import project
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.lpips import Lpips
from spatialavatar.splat.photometric import l1_ssim
from spatialavatar.splat.render import render

from .modes import Mode
from .people import FRONT, OWN
from .surfaces import FaceTriangles, Regions, filmed_triangles, overlap, regions_of, triangles_in_sight

PARTS = ("filmed", "unfilmed", "other", "background")
"""Parts of a picture, fields of `Regions`, between which its squared error is divided."""
_CHIN = 152
Row = dict[str, Any]
Show = Callable[[Row, Tensor, Tensor], None]


@dataclass(frozen=True)
class GroundTruth:
    """What is true of one person, ready to score avatars against.

    cameras: What each camera that is scored saw at the instants.
    instants: Frames of the filmed video.
    vertices: (T, V, 3) true mesh at the instants.
    angles: For each camera (T,) degrees to the nearest filmed view.
    filmed: (F,) triangles that the filmed camera saw.
    """

    head: Head
    cameras: Mapping[str, TrackedSequence]
    instants: tuple[int, ...]
    vertices: Tensor
    angles: Mapping[str, Tensor]
    filmed: NDArray[np.bool_]


def ground_truth_of(
    head: Head, filmed: TrackedSequence, cameras: Mapping[str, TrackedSequence], instants: Sequence[int]
) -> GroundTruth:
    """The truth of one person.

    Args:
        filmed: Every frame an avatar is made from, with its true motion and camera.
        cameras: What the cameras that are scored saw at the instants, with their true motion.
        instants: Which frames of the filmed video these are.
    """
    some = next(iter(cameras.values()))
    with torch.no_grad():
        vertices = head.pose(some.identity, some.motion)
        views = directions_of(head, filmed)
        angles = {name: nearest_angles(directions_of(head, seen), views) for name, seen in cameras.items()}
        seen_surface = filmed_triangles(filmed, head)
    return GroundTruth(head, cameras, tuple(instants), vertices, angles, seen_surface)


def directions_of(head: Head, sequence: TrackedSequence) -> Tensor:
    """(T, 3) from where each frame's camera sees the head, in the head's axes."""
    centers = head_centers(head, sequence.identity, sequence.motion)
    pose = sequence.camera_from_world
    positions = -(pose[:, :3, :3].mT @ pose[:, :3, 3:])[..., 0]
    return view_directions(sequence.motion, centers, positions)


def score_mode(mode: Mode, truth: GroundTruth, network: Lpips | None = None, show: Show | None = None) -> list[Row]:
    """A row for every camera and instant of a mode.

    Args:
        network: Measures LPIPS, where its weights are at hand.
        show: Called with each row, the truth and the avatar's picture, (H, W, 3).
    """
    rows = []
    face = FaceTriangles(truth.head).mask
    with torch.no_grad():
        tracked_mesh = mode.avatar.head.pose(mode.avatar.prepared, mode.motion)
        for index, instant in enumerate(mode.instants):
            at = truth.instants.index(instant)
            world = mode.avatar.pose(mode.motion[index])
            placed = mode.placed.frame(index)
            for name, seen in truth.cameras.items():
                camera = seen.camera(at)
                own_camera = placed.camera_in_source(camera)
                # Pictures are compared as they are stored and shown, in 8 bits.
                image = (render(world, own_camera, torch.ones(3)).image.clamp(0, 1) * 255).round() / 255
                target = seen.image(at).float() / 255
                chin = _chin_row(seen, at)
                masks = regions_of(
                    truth.vertices[at], truth.head, camera, truth.filmed, face, chin, shows_person(seen, at)
                )
                angle = float(truth.angles[name][at])
                row: Row = {
                    "mode": mode.name,
                    "camera": name,
                    "frame": instant,
                    "angle": round(angle, 2),
                    "band": FRONT if name == FRONT else band_of(angle),
                    **picture_figures(image, target, masks),
                    **_mesh_figures(tracked_mesh[index], own_camera, truth.vertices[at], camera, truth.head, masks),
                }
                if network is not None:
                    row["lpips"] = float(network(_batch(image), _batch(target)))
                rows.append(row)
                if show is not None:
                    show(row, target, image)
    return rows


@torch.no_grad()
def score_own(
    avatar: Avatar, tracked: TrackedSequence, places: Sequence[int], instants: Sequence[int], truth: GroundTruth
) -> list[Row]:
    """A row for each instant: the avatar in the tracked camera, held against what the filmed camera saw.

    Args:
        avatar: Made from `tracked`.
        places: Which frames of `tracked` these are.
        instants: Which frames of the filmed video.

    Returns:
        No rows where the tracker cropped the filmed pictures, whose pixels are others then.
    """
    seen = truth.cameras[FRONT]
    whole = torch.tensor([0.0, 0.0, float(seen.width), float(seen.height)])
    cropped = tracked.source_boxes is not None and not bool((tracked.source_boxes == whole).all())
    if cropped or (tracked.width, tracked.height) != (seen.width, seen.height):
        return []
    face, rows = FaceTriangles(truth.head).mask, []
    for place, instant in zip(places, instants, strict=True):
        at = truth.instants.index(instant)
        camera = tracked.camera(place)
        image = (
            render(avatar.pose(tracked.motion[place]), camera, torch.ones(3)).image.clamp(0, 1) * 255
        ).round() / 255
        masks = regions_of(
            truth.vertices[at],
            truth.head,
            seen.camera(at),
            truth.filmed,
            face,
            _chin_row(seen, at),
            shows_person(seen, at),
        )
        figures = picture_figures(image, seen.image(at).float() / 255, masks)
        rows.append({"mode": "tracked", "camera": OWN, "frame": instant, "angle": 0.0, "band": OWN, **figures})
    return rows


def picture_figures(image: Tensor, target: Tensor, masks: Regions) -> dict[str, float | None]:
    """PSNR and SSIM of a picture (H, W, 3) and of parts of it, and where its squared error lies.

    `error_*` are mean squared errors over the whole picture of one part of it: they add up to that of the whole.
    """
    squared = (image - target).square().mean(-1).double().numpy()
    figures: dict[str, float | None] = {
        "psnr": decibels(float(squared.mean())),
        "ssim": 1 - float(l1_ssim(image, target, 0.0, 1.0)),
        "psnr_head": _masked(squared, masks.above_chin),
        "psnr_face": _masked(squared, masks.face),
    }
    for part in PARTS:
        figures[f"error_{part}"] = float((squared * getattr(masks, part)).mean())
    return figures


def shows_person(seen: TrackedSequence, at: int) -> NDArray[np.bool_]:
    """(H, W) where more than half of a pixel is the person, by the matte."""
    return seen.matte(at).numpy() >= 128


def decibels(squared_error: float) -> float:
    """PSNR of a mean squared error, at most `PSNR_CEILING`."""
    return min(PSNR_CEILING, -10 * float(np.log10(max(squared_error, 1e-12))))


def _masked(squared: NDArray[np.float64], mask: NDArray[np.bool_]) -> float | None:
    return decibels(float(squared[mask].mean())) if mask.any() else None


def _chin_row(seen: TrackedSequence, at: int) -> int:
    assert seen.landmarks is not None
    return int(seen.landmarks[at, _CHIN, 1].clamp(16, seen.height))


def _mesh_figures(
    own: Tensor, own_camera: Camera, true: Tensor, camera: Camera, head: Head, masks: Regions
) -> dict[str, float]:
    """How far the tracked mesh (V, 3) lies from the true one in this picture: tracking alone, no Gaussian in sight.

    silhouette_iou: Of the two meshes above the true chin.
    landmarks_mm: Mean distance of the landmarks in the picture, carried back to the head's distance.
    """
    rows = masks.above_chin
    silhouette = triangles_in_sight(own, head, own_camera) >= 0
    embedding = load_landmarks(head)
    both = []
    for vertices, seen_by in ((own, own_camera), (true, camera)):
        points = embedding.points(vertices[None], head.faces)
        pixels, depth = project(points, seen_by.camera_from_world[None], seen_by.intrinsics[None])
        both.append((pixels[0], depth[0]))
    metres_per_pixel = float(both[1][1].mean() / camera.intrinsics[0, 0])
    away = float((both[0][0] - both[1][0]).norm(dim=-1).mean())
    return {
        "silhouette_iou": overlap(silhouette & rows, masks.silhouette & rows),
        "landmarks_mm": 1000 * metres_per_pixel * away,
    }


def _batch(image: Tensor) -> Tensor:
    return image.permute(2, 0, 1)[None]
