"""Protocols: what exactly a table's numbers were measured on, as versioned files in the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from spatialavatar.errors import UserError

T = TypeVar("T")


def ring(clips: Sequence[T]) -> list[tuple[T, T]]:
    """(source, driver) pairs: each is driven by the next one, the last by the first, as GAGAvatar and LAM do.

    Raises:
        UserError: There is only one.
    """
    if len(clips) < 2:
        raise UserError(f"cross-reenactment needs two clips or more, found {len(clips)}.")
    return list(zip(clips, [*clips[1:], clips[0]], strict=True))
