"""Protocols: what exactly a table's numbers were measured on, as versioned files in the package.

A protocol never changes under its id: what is measured otherwise gets another number at its end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from typing import Any, Literal, TypeVar

from spatialavatar.errors import UserError

T = TypeVar("T")
Kind = Literal["self", "cross", "avatars", "multi"]
_FORMAT, _VERSION = "spatialavatar.protocol", 1


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    Attributes:
        id: Its name and version.
        title: For people.
        kind: self: an avatar of each clip's source frames against its later frames. cross: driven by the next clip.
            avatars: ready avatars against held-out frames. multi: self with K sources, for several K.
        background: What pictures are shown over.
        sources: Source frames.
        targets: Which frames are predicted; see `frames.Targets`.
        counts: K of `multi`.
        choice: How the K sources of `multi` are chosen; see `frames.Choice`.
        clips: How many clips the set has; None where it may be any number.
        table: The paper's table that it belongs to.
        metrics: What is measured.
        notes: What else holds.
    """

    id: str
    title: str
    kind: Kind
    background: str
    sources: tuple[int, ...]
    targets: str
    counts: tuple[int, ...]
    choice: str
    clips: int | None
    table: str | None
    metrics: tuple[str, ...]
    notes: str


def protocol_ids() -> tuple[str, ...]:
    """All protocols of the package."""
    folder = package_files("spatialavatar.evaluate") / "protocols"
    return tuple(sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")))


def load_protocol(id: str) -> Protocol:
    """One protocol.

    Raises:
        UserError: There is none of this id.
    """
    if id not in protocol_ids():
        raise UserError(f"there is no protocol {id!r}.", hint=f"There are: {', '.join(protocol_ids())}.")
    path = package_files("spatialavatar.evaluate") / "protocols" / f"{id}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if found.get("format") != _FORMAT or found.get("format_version") != _VERSION or found.get("id") != id:
        raise UserError("this is not a protocol of this version.", where=str(path))
    return Protocol(
        id=id,
        title=found["title"],
        kind=found["kind"],
        background=found["background"],
        sources=tuple(found.get("sources", (0,))),
        targets=found.get("targets", "later"),
        counts=tuple(found.get("counts", ())),
        choice=found.get("choice", "first-half"),
        clips=found.get("clips"),
        table=found.get("table"),
        metrics=tuple(found["metrics"]),
        notes=found["notes"],
    )


def ring(clips: Sequence[T]) -> list[tuple[T, T]]:
    """(source, driver) pairs: each is driven by the next one, the last by the first, as GAGAvatar and LAM do.

    Raises:
        UserError: There is only one.
    """
    if len(clips) < 2:
        raise UserError(f"cross-reenactment needs two clips or more, found {len(clips)}.")
    return list(zip(clips, [*clips[1:], clips[0]], strict=True))
