"""Which exports would pass on a head model that its users had to register for."""

from __future__ import annotations

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.errors import UserError

_FREE = {"open-head": "CC0 1.0", "gnm": "Apache-2.0"}
_OPEN_FLAME = "flame-2023-open"


def licence_note(avatar: Avatar) -> str | None:
    """What to know before passing on an export that holds the head's mesh and shapes; None for the open head."""
    edition, name = avatar.head.edition, avatar.head.name
    if edition.startswith("open-head"):
        return None
    if edition.startswith("gnm"):
        return f"It holds data of {name} (Apache-2.0): keep its notice with the file."
    if edition.startswith(_OPEN_FLAME):
        return f"It holds data of {name} 2023 Open (CC BY 4.0): name its authors wherever you show the file."
    return f"It holds data of {name}: pass it on only as far as your licence of {name} allows."


def check_licence(avatar: Avatar, has_licence: bool, what: str) -> None:
    """Stop an export that would carry a gated model's data, unless its user says that they may.

    Raises:
        UserError: The head is gated and `has_licence` is false.
    """
    edition, name = avatar.head.edition, avatar.head.name
    if has_licence or edition.startswith((*_FREE, _OPEN_FLAME)):
        return
    raise UserError(
        f"{what} holds the mesh and shapes of {name} ({edition}), which may not be passed on freely.",
        hint=f"If your licence of {name} covers it, add --i-have-the-licence. "
        "ply, spz, gltf and motion hold none of the model.",
    )
