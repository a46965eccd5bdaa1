"""A Recording: what a driver did, before it is fitted to an avatar."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from spatialavatar.avatar.framing import typical_frame
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.sequence.sequence import TrackedSequence

ARKIT_NAMES: tuple[str, ...] = (
    *("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft"),
    *("eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight"),
    *("eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel"),
    *("mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft"),
    *("mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight"),
    *("mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft"),
    *("browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft"),
    *("cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
"""ARKit's 52 blendshapes in Live Link Face's order. Left and right are the subject's."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Motion of a driver, in the driver's own terms.

    motion: T frames.
    expression_names: E names of the columns of `motion.expression`.
    frame_rate: Frames per second.
    head_edition: The head whose expressions these are; None for weights that only names define, such as ARKit's.
    rest: One frame, how the driver usually holds body and neck; zeros for authored motion.
    source: Where it came from, for messages and provenance.
    sight: (3, 3) orientation of a head that looks into the driver's camera; the identity for authored motion.
    notes: What the reader found and did that its user should know: one sentence each, the file not named.
    """

    motion: Motion
    expression_names: tuple[str, ...]
    frame_rate: float
    head_edition: str | None
    rest: Motion
    source: str
    sight: Tensor = field(default_factory=lambda: torch.eye(3))
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.motion)

    def frames(self, start: int = 0, stop: int | None = None, every: int = 1) -> Recording:
        """Some of the frames; the frame rate follows `every`."""
        return replace(self, motion=self.motion[slice(start, stop, every)], frame_rate=self.frame_rate / every)


def median_rest(motion: Motion) -> Motion:
    """One frame: how this driver usually holds body and neck, with a neutral face.

    Medians of axis-angle vectors, component by component: right for rotations that stay within a radian or so of one
    another, which those of a person before a camera do.
    """
    neutral = Motion.neutral(1, motion.expression.shape[1])
    return replace(
        neutral,
        global_rotation=motion.global_rotation.median(0).values[None],
        neck_rotation=motion.neck_rotation.median(0).values[None],
        translation=motion.translation.median(0).values[None],
        neck_translation=motion.neck_translation.median(0).values[None],
    )


def recording_of_sequence(sequence: TrackedSequence, head: Head, source: str = "") -> Recording:
    """What the person in tracked frames did.

    Args:
        sequence: Tracked frames; photos give one pose each.
        head: The head it was tracked with.
        source: For messages; the folder's name if empty.
    """
    motion = sequence.motion.detach()
    _, _, sight = typical_frame(head, sequence.identity, motion, sequence.camera_from_world)
    return Recording(
        motion=motion,
        expression_names=head.expression_names,
        frame_rate=sequence.frame_rate if sequence.frame_rate > 0 else 1.0,
        head_edition=sequence.head_edition,
        rest=median_rest(motion),
        source=source or (sequence.folder.name if sequence.folder is not None else "tracked frames"),
        sight=sight,
    )
