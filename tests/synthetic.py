"""A subject made from nothing: the open head with a painted surface, seen in a few frames, with exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.generate.texture_start import default_gaussians
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.uv import build_uv_layout
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from spatialavatar.splat.render import render


@dataclass(frozen=True)
class Subject:
    """The true avatar and the frames it was drawn into."""

    avatar: Avatar
    sequence: TrackedSequence


def painted_avatar(resolution: int = 48, seed: int = 0) -> Avatar:
    """The open head with smooth colours that differ all over the surface."""
    head = load_open_head()
    layout = build_uv_layout(head, resolution)
    identity = torch.zeros(head.num_identities)
    neutral = head.prepare_identity(identity).shaped_template
    gaussians = default_gaussians(head, layout, neutral)
    points = layout.surface_points(neutral, head.faces)
    phase = torch.rand(3, 3, generator=torch.Generator().manual_seed(seed)) * 6
    waves = 0.5 + 0.3 * torch.sin(40 * points[:, None, :] * torch.tensor([1.0, 1.3, 0.8]) + phase).mean(-1)
    return Avatar(head, layout, identity, replace(gaussians, colors=waves.clamp(0, 1)))


def subject(frames: int = 12, size: int = 96, resolution: int = 48, seed: int = 0) -> Subject:
    """`frames` pictures of `painted_avatar` turning its head from side to side with the mouth opening and closing."""
    avatar = painted_avatar(resolution, seed)
    head = avatar.head
    time = torch.linspace(0, 1, frames)
    motion = Motion.neutral(frames, head.num_expressions)
    motion.neck_rotation[:, 1] = 0.5 * torch.sin(2 * torch.pi * time)
    motion.expression[:, head.expression_names.index("jawOpen")] = 0.5 * (1 - torch.cos(2 * torch.pi * time)) / 2 + 0.02
    motion = replace(motion, translation=avatar.rest.translation.expand(frames, 3).contiguous())
    camera = avatar.default_camera(size)
    names = tuple(f"{index:05d}" for index in range(frames))
    images, mattes = {}, {}
    for index, name in enumerate(names):
        with torch.no_grad():
            drawn = render(avatar.pose(motion[index]), camera)
        alpha = drawn.alpha[..., None]
        straight = drawn.image / alpha.clamp_min(1e-3)
        images[name] = (straight.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        mattes[name] = (drawn.alpha.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    sequence = TrackedSequence(
        head_edition=head.edition,
        identity=avatar.identity,
        motion=motion,
        camera_from_world=camera.camera_from_world.expand(frames, 4, 4).contiguous(),
        intrinsics=camera.intrinsics.expand(frames, 3, 3).contiguous(),
        width=size,
        height=size,
        frame_rate=25.0,
        names=names,
        frames=MemoryFrames(images, mattes),
    )
    return Subject(avatar, sequence)


def greyed(avatar: Avatar) -> Avatar:
    """The same avatar before anything was learned: mid grey."""
    gaussians = avatar.gaussians
    grey = LocalGaussians(
        gaussians.positions,
        gaussians.quaternions_wxyz,
        gaussians.log_scales,
        gaussians.opacity_logits,
        torch.full_like(gaussians.colors, 0.5),
    )
    return replace(avatar, gaussians=grey)
