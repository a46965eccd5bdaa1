"""Two worlds in which one head was found, laid onto each other: rotation, shift and scale between their meshes.

A tracker's world is the true one up to a similarity: one video does not tell where its camera stood, and a large
head far away looks like a small one nearby. What is left after the best similarity is the tracker's error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.splat.camera import Camera

SKULL_SHARE = 0.9
"""Least skinning weight of the joints above the body with which a vertex counts as the head's."""


@dataclass(frozen=True)
class Similarity:
    """target = scale * rotation @ source + translation.

    rotation: (3, 3), or (T, 3, 3) where each frame has its own.
    translation: (3,) or (T, 3).
    scale: One number.
    """

    rotation: Tensor
    translation: Tensor
    scale: float

    def apply(self, points: Tensor) -> Tensor:
        """(..., 3) points of the source's world in the target's; (T, N, 3) where each frame has its own."""
        turned = self.scale * points @ self.rotation.mT
        return turned + (self.translation[:, None] if self.rotation.ndim == 3 else self.translation)

    def frame(self, index: int) -> Similarity:
        """That of one frame."""
        if self.rotation.ndim == 2:
            return self
        return Similarity(self.rotation[index], self.translation[index], self.scale)

    def camera_in_source(self, camera: Camera) -> Camera:
        """A camera of the target's world as it stands in the source's: both show the same picture.

        A pinhole's picture does not change when the world shrinks towards its centre, so the scale moves into the
        shift and the camera stays rigid.
        """
        if self.rotation.ndim != 2:
            raise ValueError("choose a frame first")
        pose = camera.camera_from_world.double()
        moved = torch.eye(4, dtype=torch.float64)
        moved[:3, :3] = pose[:3, :3] @ self.rotation.double()
        moved[:3, 3] = (pose[:3, :3] @ self.translation.double() + pose[:3, 3]) / self.scale
        return replace(camera, camera_from_world=moved.to(camera.camera_from_world.dtype))


def fit_similarity(source: Tensor, target: Tensor, scale: float | None = None) -> Similarity:
    """The similarity that takes points best onto others, in squared distances (Umeyama 1991).

    Args:
        source, target: (N, 3) points that belong together.
        scale: Keep to this scale.

    Raises:
        ValueError: Fewer than three points, or all of the source's in one place.
    """
    if source.shape != target.shape or source.ndim != 2 or len(source) < 3:
        raise ValueError(f"two sets of at least three points are needed, found {source.shape} and {target.shape}")
    source, target = source.double(), target.double()
    middle, aim = source.mean(0), target.mean(0)
    around, wanted = source - middle, target - aim
    spread = around.square().sum()
    if float(spread) == 0.0:
        raise ValueError("all points of the source lie in one place")
    u, values, vt = torch.linalg.svd(wanted.T @ around)
    signs = torch.ones(3, dtype=torch.float64)
    signs[2] = torch.sign(torch.linalg.det(u @ vt))  # A mirror image is no rotation.
    rotation = u @ torch.diag(signs) @ vt
    factor = float((values * signs).sum() / spread) if scale is None else scale
    return Similarity(rotation, aim - factor * rotation @ middle, factor)


def fit_all_frames(source: Tensor, target: Tensor) -> Similarity:
    """One similarity for all frames: (T, N, 3) points that belong together."""
    return fit_similarity(source.reshape(-1, 3), target.reshape(-1, 3))


def fit_each_frame(source: Tensor, target: Tensor) -> Similarity:
    """A rotation and a shift for each frame, with one scale for all: (T, N, 3) points that belong together."""
    around, wanted = (points.double() - points.double().mean(1, keepdim=True) for points in (source, target))
    # The scale that is best in squares when every frame is turned as suits it best.
    products = [torch.linalg.svd(b.T @ a) for a, b in zip(around, wanted, strict=True)]
    shared = [
        float(values.sum() - (0.0 if torch.linalg.det(u @ vt) > 0 else 2 * values[2])) for u, values, vt in products
    ]
    scale = sum(shared) / float(around.square().sum())
    found = [fit_similarity(a, b, scale) for a, b in zip(source, target, strict=True)]
    return Similarity(
        torch.stack([one.rotation for one in found]), torch.stack([one.translation for one in found]), scale
    )


def residual(similarity: Similarity, source: Tensor, target: Tensor) -> Tensor:
    """(T,) mean distance in each frame that is left between (T, N, 3) points, in the target's unit."""
    return (similarity.apply(source.double()) - target.double()).norm(dim=-1).mean(1)


def head_vertices(head: Head) -> Tensor:
    """(K,) indices of the vertices that move with the skull, jaw and eyes, and not with the body."""
    share = head.skinning_weights[:, 1:].sum(-1)
    # FLAME's neck keeps a share of every vertex: the most that a head has counts as all of it.
    return torch.nonzero(share >= min(SKULL_SHARE, 0.99 * float(share.max())))[:, 0]
