"""A Recording: what a driver did, before it is fitted to an avatar."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

    motion: T frames. Head and body rotations are against the camera's axes (x to the subject's left, y up, z towards
        the camera), so a rotation of zero looks straight along the lens.
    expression_names: E names of the columns of `motion.expression`.
    frame_rate: Frames per second.
    head_edition: The head whose expressions these are; None for weights that only names define, such as ARKit's.
    rest: One frame, how the driver usually holds body and neck; zeros for authored motion.
    source: Where it came from, for messages and provenance.
    """

    motion: Motion
    expression_names: tuple[str, ...]
    frame_rate: float
    head_edition: str | None
    rest: Motion
    source: str

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


def recording_of_sequence(sequence: TrackedSequence, expression_names: tuple[str, ...], source: str = "") -> Recording:
    """What the person in tracked frames did.

    Args:
        sequence: Tracked frames; photos give one pose each.
        expression_names: Names of the expressions of the head it was tracked with.
        source: For messages; the folder's name if empty.
    """
    motion = sequence.motion.detach()
    return Recording(
        motion=motion,
        expression_names=expression_names,
        frame_rate=sequence.frame_rate if sequence.frame_rate > 0 else 1.0,
        head_edition=sequence.head_edition,
        rest=median_rest(motion),
        source=source or (sequence.folder.name if sequence.folder is not None else "tracked frames"),
    )
