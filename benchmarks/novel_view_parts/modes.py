"""An avatar in other cameras, with more and more of the truth put in: so that a decibel lost can be told from the next.

Each mode replaces one more thing that the tracker found by the truth:

    tracked      nothing: the tracked motion in the tracked world, laid onto the true one by one similarity
    head-pose    the head's place and rotation, frame by frame
    expression   expression, gaze, jaw, and the body under the head
    shape        the identity: the avatar's Gaussians on the true person's mesh

What is lost after the last one is appearance: colours, hair, whatever no frame showed. `driven` is for avatars of
photos: the motion tracked in the filmed video, laid onto the true world with the avatar's own mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.evaluate.alignment import Similarity, fit_all_frames, fit_each_frame, head_vertices, residual
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.sequence import TrackedSequence

MODES = ("tracked", "head-pose", "expression", "shape", "driven")
STEPS = ("tracked", "head-pose", "expression", "shape")
"""In this order each has one thing more from the truth than the one before."""
SPARSE = 4
"""Every n-th vertex is enough to lay meshes onto each other."""


@dataclass(frozen=True)
class Mode:
    """One way to draw an avatar in the true world's cameras.

    Attributes:
        name: One of `MODES`.
        avatar: The avatar, with the identity of this mode.
        motion: A frame for each of `instants`.
        placed: Takes the avatar's world to the true one.
        instants: Frames of the filmed video.
        residual_mm: Mean distance between the two meshes of the head over all frames, after that.
    """

    name: str
    avatar: Avatar
    motion: Motion
    placed: Similarity
    instants: tuple[int, ...]
    residual_mm: float


def modes_of(
    avatar: Avatar,
    tracked: TrackedSequence,
    truth: TrackedSequence,
    places: Sequence[int],
    instants: Sequence[int],
    wanted: Sequence[str] = MODES,
) -> list[Mode]:
    """The modes in which an avatar can be drawn.

    Args:
        avatar: Made from `tracked`.
        tracked: The filmed frames as tracked; one frame for each of the truth's.
        truth: The same frames with their true motion.
        places: Which of their frames are scored.
        instants: Which frames of the filmed video these are.
        wanted: Names.
    """
    if len(tracked) != len(truth):
        raise ValueError(f"{len(tracked)} tracked frames of {len(truth)}")
    head = avatar.head
    at = list(places)
    true_points = points_of(head, truth.identity, truth.motion)
    own_points = points_of(head, avatar.identity, tracked.motion)
    posed_points = points_of(head, avatar.identity, truth.motion)
    reshaped = replace(avatar, identity=truth.identity)
    known = {
        "tracked": (avatar, tracked.motion, own_points, False),
        "head-pose": (avatar, tracked.motion, own_points, True),
        "expression": (avatar, truth.motion, posed_points, True),
        "shape": (reshaped, truth.motion, true_points, True),
    }
    found = []
    for name, (drawn, motion, points, each) in known.items():
        if name in wanted:
            found.append(_mode(name, drawn, motion[at], points, true_points, at, instants, each))
    return found


def driven_mode(avatar: Avatar, driving: TrackedSequence, truth: TrackedSequence, instants: Sequence[int]) -> Mode:
    """The avatar moved by another tracking of the filmed video (all frames of both)."""
    points = points_of(avatar.head, avatar.identity, driving.motion)
    true_points = points_of(avatar.head, truth.identity, truth.motion)
    at = list(instants)
    return _mode("driven", avatar, driving.motion[at], points, true_points, at, instants, False)


def _mode(
    name: str,
    avatar: Avatar,
    motion: Motion,
    points: Tensor,
    true_points: Tensor,
    places: list[int],
    instants: Sequence[int],
    each_frame: bool,
) -> Mode:
    placed = (fit_each_frame if each_frame else fit_all_frames)(points, true_points)
    left = 1000 * float(residual(placed, points, true_points).mean())
    if each_frame:
        placed = Similarity(placed.rotation[places], placed.translation[places], placed.scale)
    return Mode(name, avatar, motion, placed, tuple(instants), left)


def points_of(head: Head, identity: Tensor, motion: Motion) -> Tensor:
    """(T, K, 3) some of the head's vertices."""
    rig = head.restrict(head_vertices(head)[::SPARSE])
    with torch.no_grad():
        return rig.pose(rig.prepare_identity(identity), motion)
