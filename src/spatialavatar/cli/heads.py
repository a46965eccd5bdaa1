"""Options of commands that open avatars: whose head it is, where that is not the built-in one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from spatialavatar.errors import UserError

if TYPE_CHECKING:
    from spatialavatar.avatar.avatar import Avatar
    from spatialavatar.head import Head


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """Your own copy of a head model."""

    head: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """The head's file (FLAME .pkl or .npz, GNM .npz), for avatars that do not use the built-in head."""
    head_uv: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Its texture space (FLAME_texture.npz, or an .obj of the template), where the head's file has none."""

    def head_files(self) -> list[Path]:
        """The files of the head that were given."""
        return [path for path in (self.head, self.head_uv) if path is not None]

    def given_head(self) -> Head | None:
        """The head from its file, or None for the built-in one.

        Raises:
            UserError: The file is missing or no head.
        """
        if self.head is None:
            if self.head_uv is not None:
                raise UserError("--head-uv belongs to --head.", hint="Give the head's file too.")
            return None
        from spatialavatar.head import load_head

        return load_head(self.head, self.head_uv)

    def open_avatar(self, path: Path) -> Avatar:
        """The avatar with its head.

        Raises:
            UserError: See `load_avatar`.
        """
        from spatialavatar.avatar.file import load_avatar

        return load_avatar(path, self.given_head())
