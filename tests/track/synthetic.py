"""Observations made from the open head with known motion and camera: what the fit ought to recover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spatialavatar.head import Head, Motion, load_open_head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.sequence.validate import project, silhouette_mask
from spatialavatar.track.loss import FitConfig
from spatialavatar.track.observe import Observations
from spatialavatar.track.outline import matte_contour, padded_contour
from spatialavatar.track.torso import torso_view

SIZE = 256
QUICK = FitConfig(identities=20, key_frames=6, key_steps=25, contour_rounds=1, contour_steps=10, frame_steps=15)
HASTY = FitConfig(identities=10, key_frames=3, key_steps=6, contour_rounds=1, contour_steps=3, frame_steps=4)


@dataclass(frozen=True)
class Synthetic:
    """The truth and what is seen of it."""

    head: Head
    identity: Tensor
    motion: Motion
    camera_from_world: Tensor
    intrinsics: Tensor
    observations: Observations
    images: dict[str, np.ndarray]
    mattes: dict[str, np.ndarray]


def synthetic(frames: int = 6, *, kind: str = "video", unseen: tuple[int, ...] = ()) -> Synthetic:
    """A head that turns, nods, opens its mouth and blinks before a camera 0.9 m away; skin of one colour, no hair."""
    head = load_open_head()
    embedding = load_landmarks(head)
    t = torch.linspace(0, 1, frames)
    identity = torch.tensor([0.8, -0.6, 0.5, -0.4, 0.3])
    motion = Motion.neutral(frames, head.num_expressions)
    motion.expression[:, head.expression_names.index("jawOpen")] = 0.4 * torch.sin(2 * t) ** 2
    motion.expression[:, head.expression_names.index("eyeBlinkLeft")] = 0.5 * t
    motion.expression[:, head.expression_names.index("eyeBlinkRight")] = 0.5 * t
    motion.neck_rotation[:, 1] = 0.4 * torch.sin(2 * t - 0.5)
    motion.neck_rotation[:, 0] = 0.15 * torch.cos(2 * t)
    motion.translation[:, 0] = 0.02 * torch.sin(2 * t)
    motion.eyes_rotation[:, [1, 4]] = (0.2 * torch.cos(2 * t))[:, None]
    camera_from_world = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).repeat(frames, 1, 1)
    camera_from_world[:, 2, 3] = 0.9
    focal = 1.3 * SIZE
    intrinsics = torch.tensor([[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1]]).repeat(frames, 1, 1)
    vertices = head.pose(identity, motion)
    pixels, _ = project(vertices, camera_from_world, intrinsics)
    points, depths = project(embedding.points(vertices, head.faces), camera_from_world, intrinsics)
    depth = (depths - depths.mean(1, keepdim=True)) * focal / 0.9
    landmarks = torch.cat([points, depth[..., None]], -1).numpy().astype(np.float32)
    names = tuple(f"{k:05d}" for k in range(frames))
    images, mattes, contours, torsos = {}, {}, [], []
    for k, name in enumerate(names):
        solid = silhouette_mask(pixels[k].numpy(), head.faces.numpy(), SIZE, SIZE)
        mattes[name] = solid.astype(np.uint8) * 255
        images[name] = np.where(solid[..., None], np.uint8([205, 160, 140]), np.uint8([40, 70, 120])).astype(np.uint8)
        contour = matte_contour(images[name], mattes[name], landmarks[k, :, :2])
        contours.append(padded_contour(contour))
        torsos.append(torso_view(images[name], mattes[name], landmarks[k, :, :2]))
    for k in unseen:
        landmarks[k] = np.nan
    observations = Observations(
        kind=kind,
        names=names,
        size=SIZE,
        frame_rate=25.0 if kind == "video" else 0.0,
        landmarks=landmarks,
        contours=np.stack(contours),
        torsos=tuple(torsos),
        corners=np.zeros((frames, 2)),
        scales=np.ones(frames),
        image_sizes=np.full((frames, 2), float(SIZE)),
        warnings=(),
    )
    return Synthetic(head, identity, motion, camera_from_world, intrinsics, observations, images, mattes)
