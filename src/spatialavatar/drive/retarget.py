"""From a driver's recording to an avatar's motion.

The avatar's head takes the driver's expression, gaze, jaw and orientation against the line of sight. Its body does not
take the driver's body: how far a torso leans in a fit differs from person to person. So the bend of the neck is applied
relative to how each of the two usually holds it, and the body follows from head and neck. An avatar driven by the
recording it was made from therefore moves exactly as it was tracked.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.framing import head_rotation
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle


def retarget(recording: Recording, avatar: Avatar, *, relative: bool = False, travel: bool = True) -> Motion:
    """The motion that makes `avatar` do what the driver did.

    Args:
        recording: T frames.
        avatar: Gives the head, its expression names and its resting pose.
        relative: Take the recording's first frame for the driver's neutral one: only what changes from there moves
            the avatar. For a driver whose neutral face or camera height does not fit the avatar.
        travel: Let the head move about the picture as the driver's does, relative to where it usually is; otherwise
            it stays in its place.

    Returns:
        T frames for `avatar.pose` and `avatar.render`.

    Raises:
        UserError: The recording's expressions have nothing in common with the avatar's.
    """
    driver, rest = recording.motion, avatar.rest
    expression = translate_expressions(recording, avatar.head.expression_names, avatar.head.edition)
    # Orientation against the line of sight: who looks into the camera does so on both sides.
    jaw, eyes, head = driver.jaw_rotation, driver.eyes_rotation, recording.sight.mT @ head_rotation(driver)
    if relative:
        expression = expression - expression[:1]
        jaw, eyes, head = jaw - jaw[:1], eyes - eyes[:1], head @ head[:1].mT
    neck_of_driver = rotation_matrix_from_axis_angle(driver.neck_rotation)
    rest_of_driver = driver[0] if relative else recording.rest
    usual_neck = rotation_matrix_from_axis_angle(rest_of_driver.neck_rotation)
    neck = neck_of_driver @ usual_neck.mT @ rotation_matrix_from_axis_angle(rest.neck_rotation)
    moved = travel * (driver.translation - rest_of_driver.translation)
    return Motion(
        expression=expression,
        global_rotation=axis_angle_from_rotation_matrix(avatar.sight @ head @ neck.mT),
        neck_rotation=axis_angle_from_rotation_matrix(neck),
        jaw_rotation=jaw,
        eyes_rotation=eyes,
        translation=rest.translation + moved,
        neck_translation=rest.neck_translation + driver.neck_translation - rest_of_driver.neck_translation,
    )


def translate_expressions(recording: Recording, names: tuple[str, ...], edition: str) -> Tensor:
    """(T, E) the recording's expression in another head's columns, by name.

    Numbered components of different editions never match, even where their names are alike: only names that ARKit
    defines mean the same on every head.

    Raises:
        UserError: No column can be carried over.
    """
    source = recording.motion.expression
    if recording.head_edition == edition and recording.expression_names == names:
        return source
    column = {name: index for index, name in enumerate(recording.expression_names) if name in ARKIT_NAMES}
    shared = [(target, column[name]) for target, name in enumerate(names) if name in column]
    if not shared and bool(source.any()):
        raise UserError(
            f"this motion has the expressions of the head {recording.head_edition or 'unknown'} and the avatar those "
            f"of {edition}; they have no name in common.",
            where=recording.source,
            hint="Track the driver with the avatar's own head.",
        )
    result = torch.zeros(len(source), len(names))
    for target, origin in shared:
        result[:, target] = source[:, origin]
    return result


def still(avatar: Avatar, frames: int = 1) -> Motion:
    """`frames` frames of the avatar at rest."""
    return avatar.rest[torch.zeros(frames, dtype=torch.long)]


def exactly(recording: Recording, avatar: Avatar) -> Motion:
    """The recording's own numbers, body and place included: for rendering with the recording's own cameras.

    Raises:
        UserError: It was made with another head.
    """
    if recording.head_edition != avatar.head.edition:
        raise UserError(
            f"this motion was made with the head {recording.head_edition or 'unknown'} and the avatar with "
            f"{avatar.head.edition}; its cameras fit only its own head.",
            where=recording.source,
            hint="Leave out --camera driver.",
        )
    return replace(recording.motion)
