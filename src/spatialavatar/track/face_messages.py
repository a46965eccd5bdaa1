"""What is said of faces in photos and videos: why none can be tracked, and what people should know of one that can."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spatialavatar.errors import UserError
from spatialavatar.track.faces import Face
from spatialavatar.track.follow import Tally
from spatialavatar.track.upright import SURE_FACE

# Height of the landmarks' box in source pixels: below the first there is nothing to fit, below the second it is soft.
LEAST_FACE, SOFT_FACE = 48, 120
_LONGEST_GAP_SECONDS = 0.5


def refuse_unusable(faces: list[Face | None], tally: Tally, path: Path, kind: str, score: float = float("nan")) -> None:
    """Raise the one message that fits when no face can be tracked.

    Args:
        score: The detector's of what it takes for a face, NaN where it finds nothing.

    Raises:
        UserError: No face, only profiles, nothing like a person's face, or a face of too few pixels.
    """
    seen = [face for face in faces if face is not None]
    if not seen:
        if (tally.profiles or tally.detected) and score < SURE_FACE:
            raise UserError(
                f"no face of a person is found in this {kind}: something looks a little like one (score {score:.2f}, "
                "of people 0.82 and more).",
                where=path,
                hint="Animals and most drawings cannot be tracked; a person's face must be sharp and uncovered.",
            )
        if tally.profiles or tally.detected:
            raise UserError(
                f"the face in this {kind} is seen only from the side, or is covered.",
                where=path,
                hint="Both eyes must be seen: use one that looks at the camera within about 60 degrees.",
            )
        raise UserError(
            f"no face is found in this {kind}.",
            where=path,
            hint="Use one that shows a person's face from the front, upright and well lit.",
        )
    height = float(np.median([face.box.height for face in seen]))
    if height < LEAST_FACE:
        raise UserError(
            f"the face is too small: {height:.0f} pixels from brow to chin, at least {LEAST_FACE} are needed.",
            where=path,
            hint=f"Use a closer {kind}, or one of higher resolution; {SOFT_FACE * 2} pixels and more look good.",
        )


def face_warnings(faces: list[Face | None], tally: Tally, frame_rate: float, path: Path) -> list[str]:
    """What a person should know about faces that can be tracked, one sentence each."""
    warnings = []
    if tally.several > 1:
        warnings.append(f"{path.name} shows {tally.several} faces; the largest is used.")
    seen = [face for face in faces if face is not None]
    height = float(np.median([face.box.height for face in seen]))
    if height < SOFT_FACE:
        warnings.append(f"The face in {path.name} is small ({height:.0f} pixels from brow to chin) and will be soft.")
    missing = len(faces) - len(seen)
    if missing:
        longest = _longest_gap([face is None for face in faces])
        text = f"{missing} of {len(faces)} frames show no face that can be tracked; their motion is filled in"
        seconds = longest / frame_rate if frame_rate else 0.0
        text += f" (longest gap {seconds:.1f} s)." if seconds > _LONGEST_GAP_SECONDS else "."
        warnings.append(text)
    if tally.returns and frame_rate:
        times = ", ".join(f"{index / frame_rate:.1f} s" for index in tally.returns[:5])
        warnings.append(f"The face was gone for long and one is followed again at {times}: see that it is the same.")
    if tally.others:
        warnings.append(f"Another face was seen beside the followed one, or in its place, in {tally.others} frames.")
    return warnings


def cut_warnings(cuts: tuple[int, ...], frame_rate: float, path: Path) -> list[str]:
    """What a person should know about cuts."""
    if not cuts:
        return []
    times = ", ".join(f"{index / frame_rate:.1f} s" for index in cuts[:5]) + (", ..." if len(cuts) > 5 else "")
    return [f"{path.name} is cut at {times}: every shot is tracked, so all of them must show the same person."]


def _longest_gap(missing: list[bool]) -> int:
    longest = run = 0
    for value in missing:
        run = run + 1 if value else 0
        longest = max(longest, run)
    return longest
