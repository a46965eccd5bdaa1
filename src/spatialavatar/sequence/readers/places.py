"""Where the files of a set lie: as its tables name them, and as copying, unpacking and other systems change names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spatialavatar.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class SetFolder:
    """The folder of a set. Files are found by the paths in its tables, and never outside it.

    A path may have slashes of either kind, may be absolute or relative to another folder (of the machine that wrote
    it: the part of it that exists here counts), may differ in case, and may lack its suffix or have another one.
    """

    folder: Path
    _listings: dict[Path, dict[str, list[str]]] = field(default_factory=dict, repr=False, compare=False)
    _inside: dict[Path, bool] = field(default_factory=dict, repr=False, compare=False)

    def find(self, told: object, suffixes: Sequence[str] = ()) -> Path | None:
        """The file that a table names; None where there is none.

        Args:
            told: What the table says.
            suffixes: Those that the file may have in place of its own, or besides; in the order of choice.

        Raises:
            UserError: The file is a link to somewhere outside the set's folder.
        """
        parts = _parts(told)
        # The whole path first, then without more and more of the folders before.
        for start in range(len(parts)):
            found = self._walk(parts[start:], suffixes)
            if found is not None:
                return found
        return None

    def place(self, told: object, suffixes: Sequence[str] = ()) -> Path:
        """As `find`; where there is no such file, the place inside the folder where it would be."""
        found = self.find(told, suffixes)
        return self.folder.joinpath(*_parts(told)) if found is None else found

    def relative(self, path: Path) -> str:
        """A path inside the folder as messages show it."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)

    def _walk(self, parts: Sequence[str], suffixes: Sequence[str]) -> Path | None:
        here = self.folder
        for part in parts[:-1]:
            name = self._named(here, (part,))
            if name is None:
                return None
            here /= name
        name = self._named(here, _spellings(parts[-1], suffixes))
        if name is None or not (here / name).is_file():
            return None
        if here not in self._inside:
            self._inside[here] = here.resolve().is_relative_to(self.folder.resolve())
        # A file that is no link lies where its folder does.
        is_inside = self._inside[here]
        if (here / name).is_symlink():
            is_inside = (here / name).resolve().is_relative_to(self.folder.resolve())
        if not is_inside:
            raise UserError(
                "this is a link that leads out of the set's folder, so it is not read.",
                where=here / name,
                hint="Copy what it leads to into the folder.",
            )
        return here / name

    def _named(self, folder: Path, names: Iterable[str]) -> str | None:
        """The first of these names that is there: as it is written, or else in other letters' case."""
        listing = self._listings.get(folder)
        if listing is None:
            listing = {}
            try:
                for entry in sorted(os.listdir(folder)):
                    listing.setdefault(entry.casefold(), []).append(entry)
            except OSError:
                pass
            self._listings[folder] = listing
        for name in names:
            found = listing.get(name.casefold(), [])
            if name in found:
                return name
            if len(found) == 1:
                return found[0]
        return None


def _parts(told: object) -> list[str]:
    """A path's parts below the last that climbs, without drive and root; none of what is no path."""
    if not isinstance(told, str) or "\0" in told:
        return []
    parts = [part for part in re.sub(r"^[A-Za-z]:", "", told.replace("\\", "/")).split("/") if part not in ("", ".")]
    climbs = [index for index, part in enumerate(parts) if part == ".."]
    return parts[climbs[-1] + 1 :] if climbs else parts


def _spellings(name: str, suffixes: Sequence[str]) -> Iterable[str]:
    yield name
    if suffixes:
        stem, suffix = os.path.splitext(name)
        for stem_of in (name, stem) if suffix.lower() in suffixes else (name,):
            yield from (stem_of + other for other in suffixes)
