"""A ball with a nose for a head, and a tracked sequence of it: small, and with known pictures."""

from __future__ import annotations

import math

import numpy as np
import torch

from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from spatialavatar.sequence.validate import project, silhouette_mask

SIZE = 64


def ball_head() -> Head:
    """Radius 0.1 m, a nose along z, 3 identities, 2 expressions."""
    rings, sectors = 12, 16
    theta = torch.linspace(0, math.pi, rings)
    phi = torch.arange(sectors) * 2 * math.pi / sectors
    unit = torch.stack(
        [
            (theta[:, None].sin() * phi.sin()).flatten(),
            theta.cos()[:, None].expand(-1, sectors).flatten(),
            (theta[:, None].sin() * phi.cos()).flatten(),
        ],
        -1,
    )
    template = 0.1 * unit * (1 + 0.8 * (unit[:, 2:] > 0.95))
    template[:, 0] *= 0.8
    r, s = torch.meshgrid(torch.arange(rings - 1), torch.arange(sectors), indexing="ij")
    a, b = (r * sectors + s).flatten(), (r * sectors + (s + 1) % sectors).flatten()
    faces = torch.cat([torch.stack([a, a + sectors, b], -1), torch.stack([b, a + sectors, b + sectors], -1)])
    vertices = len(template)
    weights = torch.zeros(vertices, 5)
    weights[:, 1] = 1
    weights[template[:, 1] < -0.05] = torch.tensor([0.0, 0, 1, 0, 0])
    return Head(
        name="ball",
        edition="ball-1",
        template=template,
        identity_basis=0.01 * torch.stack([unit * axis for axis in torch.eye(3)]),
        expression_basis=0.01 * torch.stack([unit * (unit[:, 1:2] < 0), unit * (unit[:, :1] > 0)]),
        expression_names=("down", "left"),
        pose_correctives=None,
        joint_regressor=torch.full((5, vertices), 1 / vertices),
        joint_parents=(-1, 0, 1, 1, 1),
        skinning_weights=weights,
        faces=faces,
        uv_coordinates=torch.zeros(1, 2),
        uv_faces=torch.zeros(len(faces), 3, dtype=torch.int64),
        part_of_face=torch.zeros(len(faces), dtype=torch.int64),
        part_names=("skin",),
    )


def ball_sequence(frames: int = 4, *, mirrored: bool = False) -> TrackedSequence:
    """The ball wanders to the right; mattes are its silhouettes, `mirrored` swaps them left to right."""
    head = ball_head()
    motion = Motion.neutral(frames, 2)
    motion.translation[:, 0] = torch.linspace(0.06, 0.16, frames)
    motion.global_rotation[:, 1] = torch.linspace(-0.3, 0.3, frames)
    camera_from_world = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).repeat(frames, 1, 1)
    camera_from_world[:, 2, 3] = 1.0
    intrinsics = torch.tensor([[100.0, 0, 32], [0, 100, 32], [0, 0, 1]]).repeat(frames, 1, 1)
    identity = torch.tensor([0.5, -0.5])
    pixels, _ = project(head.pose(identity, motion), camera_from_world, intrinsics)
    names = tuple(f"{k:05d}" for k in range(frames))
    mattes = {
        name: silhouette_mask(p.numpy(), head.faces.numpy(), SIZE, SIZE).astype(np.uint8) * 255
        for name, p in zip(names, pixels, strict=True)
    }
    if mirrored:
        mattes = {name: np.ascontiguousarray(m[:, ::-1]) for name, m in mattes.items()}
    images = {name: np.repeat(matte[..., None] // 2, 3, -1) + 60 for name, matte in mattes.items()}
    return TrackedSequence(
        head_edition="ball-1",
        identity=identity,
        motion=motion,
        camera_from_world=camera_from_world,
        intrinsics=intrinsics,
        width=SIZE,
        height=SIZE,
        frame_rate=25.0,
        names=names,
        landmarks=torch.full((frames, 478, 2), float("nan")),
        valid=torch.tensor([True] * (frames - 1) + [False]),
        expression_names=("down", "left"),
        source={"files": ["ball.mp4"]},
        frames=MemoryFrames(images, mattes),
    )
