"""How programs spell ARKit's blendshapes and the angles of head and eyes, and what other rigs are called."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.errors import UserError
from spatialavatar.text import printable

HEAD_ANGLES = ("headYaw", "headPitch", "headRoll")
EYE_ANGLES = (("leftEyeYaw", "leftEyePitch"), ("rightEyeYaw", "rightEyePitch"))
ANGLES = (*HEAD_ANGLES, *(name for pair in EYE_ANGLES for name in pair))

# Every rig here was met in public files; none of its names means one of ARKit's shapes.
_OTHER_RIGS = (
    (re.compile(r"ctrl_?(expressions|[lrc]_)", re.I), "the controls of a MetaHuman's rig"),
    (re.compile(r"^au_?\d\d", re.I), "action units, as OpenFace and FACS trackers write them"),
    (re.compile(r"^(jawdrop|eyeslookleft|lidtightener|lipsuck|innerbrowraiser)", re.I), "Audio2Face's own 46 poses"),
    (re.compile(r"^fcl_", re.I), "the shapes of a VRoid or VRM avatar"),
    (re.compile(r"^viseme_?", re.I), "visemes"),
)


def _letters(title: str) -> str:
    """A title without what programs put between words."""
    return re.sub(r"[\W_]+", "", title).lower()


def _spellings() -> dict[str, str]:
    known = {_letters(name): name for name in (*ARKIT_NAMES, *ANGLES)}
    for name in ARKIT_NAMES:
        for side in ("Left", "Right"):
            if name.endswith(side):
                known[_letters(name.removesuffix(side)) + side[0].lower()] = name
    # Trackers that write Euler angles about axes: x nods, y turns, z leans.
    for part in ("head", "leftEye", "rightEye"):
        for axis, angle in (("x", "Pitch"), ("y", "Yaw"), ("z", "Roll")):
            if f"{part}{angle}" in ANGLES:
                for word in ("rotation", "rot", "euler", "r"):
                    known[f"{part.lower()}{word}{axis}"] = f"{part}{angle}"
    return known


_SPELLINGS = _spellings()


def arkit_name(title: str) -> str | None:
    """The name of ours that a column's title means, in any case: `JawOpen`, `eyeBlink_L`, `blendShapes.JawOpen`.

    Returns:
        One of `ARKIT_NAMES` or `ANGLES`; None for anything else.
    """
    # A title is at most as long as "blendShapes.mouthLowerDownRight"; longer ones are somebody's text.
    if len(title) > 80:
        return None
    return _SPELLINGS.get(_letters(title)) or _SPELLINGS.get(_letters(title.rpartition(".")[2]))


def known_columns(titles: Sequence[str], where: str, what: str = "column") -> dict[int, str]:
    """Which column holds what, by index; columns of other names are left out.

    Args:
        titles: As the file has them.
        where: The file, for messages.
        what: What the file calls a column.

    Raises:
        UserError: None is one of ARKit's blendshapes, or two are the same one.
    """
    columns: dict[int, str] = {}
    seen: dict[str, str] = {}
    for index, title in enumerate(titles):
        name = arkit_name(title)
        if name is None:
            continue
        if name in seen:
            raise UserError(
                f"the {what}s '{seen[name]}' and '{printable(title, 60)}' both mean {name}.",
                where=where,
                hint="Remove one of them.",
            )
        seen[name] = printable(title, 60)
        columns[index] = name
    if not any(name in ARKIT_NAMES for name in columns.values()):
        found = next((rig for title in titles for pattern, rig in _OTHER_RIGS if pattern.search(title[:80])), None)
        other = f" These are {found}." if found else ""
        raise UserError(
            f"no {what} has the name of an ARKit blendshape, such as jawOpen.{other}",
            where=where,
            hint="Export it with ARKit's 52 blendshapes, as Live Link Face does; see docs/driving.md.",
        )
    return columns
