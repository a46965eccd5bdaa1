"""Motion and lens that move with the Gaussians (`refine_motion`): each frame's own small corrections to its tracking.

What a tracking gets wrong by a pixel, refinement can only blur. Here every frame has corrections of its own, at small
rates and drawn back to zero, so that the Gaussians and not the corrections explain what all frames have in common. The
head and the body move in the world, each by itself, which to one camera is the same as a camera that moves; its focal
length is corrected besides.

Frames that were held out have no corrections. They are scored as they were tracked and, with the avatar frozen, once
more after a fit of their own: the first figure says how good the product is, the second how good the avatar is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import world_from_local
from spatialavatar.head.head import Head
from spatialavatar.refine.held_out import only_filmed, over_white
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.photometric import l1_ssim
from spatialavatar.splat.render import render
from spatialavatar.track.corrections import CORRECTION_UNITS, Corrections, corrected, make_anchor, zoomed
from spatialavatar.track.frame_adam import FrameAdam

UNITS = {**CORRECTION_UNITS, "log_focal": 0.02}
PRIOR = 1e-4
"""Weight of squared corrections in units, against a picture's loss."""
FIT_STEPS = 40
FIT_RATE = 0.1
"""Of the fit of frames that were held out, in units."""


class MovingMotion:
    """Corrections to the motion and the focal length of a sequence's frames. Mutable on purpose: training state.

    Args:
        head, identity: Of the avatar; identity (I',).
        sequence: The frames as tracked.
    """

    def __init__(self, head: Head, identity: Tensor, sequence: TrackedSequence):
        self.head, self.identity, self.sequence = head, identity, sequence
        self.prepared = head.prepare_identity(identity)
        self.anchor = make_anchor(head, identity, sequence.motion)
        none = Corrections.none(len(sequence), head.num_expressions)
        values = {field.name: getattr(none, field.name) for field in fields(none)}
        self.frames = FrameAdam({**values, "log_focal": torch.zeros(len(sequence), 1)})
        # A head whose expressions open the jaw has it opened by them alone.
        self.jaw = 0.0 if self.anchor.bounded else 1.0

    def vertices(self, frame: int, leaves: dict[str, Tensor] | None = None) -> Tensor:
        """(V, 3) posed mesh of a frame as it is corrected now, for the tracked camera; differentiable in `leaves`."""
        leaves = self.frames.leaves([frame]) if leaves is None else leaves
        scaled = self._corrections({name: leaf for name, leaf in leaves.items() if name != "log_focal"})
        motion = corrected(self.head, self.identity, self.anchor[[frame]], scaled)
        vertices = self.head.pose(self.prepared, motion)
        zoom = (leaves["log_focal"] * UNITS["log_focal"]).exp()
        return zoomed(vertices, self.sequence.camera_from_world[[frame]], zoom)[0][0]

    def move(self, frame: int, leaves: dict[str, Tensor], rate: float) -> None:
        """One step on a frame by its leaves' gradients, and towards no correction."""
        for leaf in leaves.values():
            if leaf.grad is not None:
                leaf.grad.add_(leaf.detach(), alpha=2 * PRIOR / leaf.numel())
        self.frames.move([frame], leaves, rate)

    @torch.no_grad()
    def corrected_sequence(self) -> TrackedSequence:
        """All frames with their corrections; those that were never visited are as tracked."""
        values = self.frames.values
        scaled = self._corrections({name: value for name, value in values.items() if name != "log_focal"})
        motion = corrected(self.head, self.identity, self.anchor, scaled)
        intrinsics = self.sequence.intrinsics.clone()
        intrinsics[:, [0, 1], [0, 1]] *= (values["log_focal"] * UNITS["log_focal"]).exp()
        return replace(self.sequence, motion=motion, intrinsics=intrinsics)

    def _corrections(self, values: dict[str, Tensor]) -> Corrections:
        scaled = {name: value * UNITS[name] for name, value in values.items()}
        scaled["jaw"] = scaled["jaw"] * self.jaw
        return Corrections(**scaled)


def fit_frames(
    avatar: Avatar,
    sequence: TrackedSequence,
    frames: list[int],
    steps: int = FIT_STEPS,
    advance: Callable[[], None] = lambda: None,
) -> TrackedSequence:
    """Fit motion and focal length of some frames to their pictures, over white, with the avatar frozen.

    Args:
        advance: Called after each frame.

    Returns:
        The sequence with these frames fitted, the others as they were.
    """
    moving = MovingMotion(avatar.head, avatar.identity, sequence)
    white = torch.ones(3)
    for frame in frames:
        target, camera = over_white(sequence, frame), sequence.camera(frame)
        with torch.no_grad():
            local = avatar.gaussians
            if avatar.residual is not None:
                local = avatar.residual.apply(local, sequence.motion[frame].condition())
        for step in range(steps):
            leaves = moving.frames.leaves([frame])
            vertices = moving.vertices(frame, leaves)
            world = world_from_local(avatar.lit(local, vertices), vertices, avatar.binding)
            image = only_filmed(render(world, camera, white).image, sequence, frame)
            torch.autograd.backward(l1_ssim(image, target))
            moving.move(frame, leaves, FIT_RATE * (1 - step / steps))
        advance()
    return moving.corrected_sequence()
