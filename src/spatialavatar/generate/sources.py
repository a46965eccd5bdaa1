"""Which frames of a sequence an avatar is started from, and what their pixels look like on its surface."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.sequence.sequence import TrackedSequence


def head_directions(motion: Motion) -> Tensor:
    """Unit vector out of the face in world coordinates for every frame, (T, 3): global rotation, then neck."""
    rotation = rotation_matrix_from_axis_angle(motion.global_rotation) @ rotation_matrix_from_axis_angle(
        motion.neck_rotation
    )
    return rotation[:, :, 2]


def choose_sources(sequence: TrackedSequence, first: int, count: int, candidates: list[int] | None = None) -> list[int]:
    """`count` frames, `first` among them, whose head directions lie as far apart as possible (farthest-point order).

    Args:
        sequence: The tracked frames.
        first: The reference frame.
        count: K of §3.2, 1..4 for Stage 1.
        candidates: Frames to choose from; all by default.
    """
    candidates = list(range(len(sequence))) if candidates is None else candidates
    directions = head_directions(sequence.motion)
    chosen = [first]
    while len(chosen) < min(count, len(candidates)):
        cosine = (directions[candidates] @ directions[chosen].T).amax(1)
        best = candidates[int(cosine.argmin())]
        if best in chosen:
            break
        chosen.append(best)
    return chosen


def spread_sources(frames: Sequence[int]) -> tuple[int, int, int, int]:
    """The first of `frames`, then the one in the middle, then those at a quarter and at three quarters.

    Any K of them, from the front, lie as far apart in time as K can, so that other frames lie among them.

    Raises:
        ValueError: There are fewer than four.
    """
    length = len(frames)
    if length < 4:
        raise ValueError(f"{length} frames are fewer than four sources")
    return frames[0], frames[length // 2], frames[length // 4], frames[(3 * length) // 4]


def sample_image(image: Tensor, pixels: Tensor) -> Tensor:
    """(N, C) bilinear samples of `image` (H, W, C) at `pixels` (N, 2), pixel centres at +0.5, clamped at the border."""
    height, width = image.shape[:2]
    grid = pixels / pixels.new_tensor([width, height]) * 2 - 1
    sampled = functional.grid_sample(
        image.permute(2, 0, 1)[None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T


def erode(matte: Tensor, radius: int) -> Tensor:
    """The smallest value of `matte` (H, W) within a square of the given radius, so that edge pixels drop out."""
    return -functional.max_pool2d(-matte[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0]


def project_points(points: Tensor, camera_from_world: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (N, 2) and depths (N,) of world points (N, 3) in an OpenCV camera."""
    in_camera = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    depth = in_camera[:, 2]
    projected = in_camera @ intrinsics.T
    return projected[:, :2] / depth.clamp_min(1e-6)[:, None], depth
