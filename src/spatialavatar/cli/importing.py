"""`spatialavatar import`: somebody else's tracking in, a tracked folder out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.heads import HeadOptions
from spatialavatar.cli.paths import check_inputs, named_output
from spatialavatar.cli.run import Common, say, warn
from spatialavatar.products import check_replaceable_folder
from spatialavatar.text import shell_quoted

Layout = Literal["auto", "tracked", "imavatar", "metrical", "vhap", "gagavatar", "nersemble"]


@dataclass(frozen=True, kw_only=True)
class Import(HeadOptions, Common):
    """Read what another tracker made, and write it as a tracked folder: SplattingAvatar's and IMavatar's subjects,
    INSTA's and FlashAvatar's, VHAP's exports (GaussianAvatars), GAGAvatar_track's, NeRSemble v2. All but our own need
    your copy of FLAME. Frames that cannot be used are left out, named and counted in report.json.

    For example:
        spatialavatar import imavatar bala/ --head generic_model.pkl --head-uv FLAME_texture.npz -o bala.tracked
    """

    layout: Positional[Layout]
    """What it is; auto looks."""
    folder: Positional[Annotated[Path, arg(metavar="FOLDER")]]
    """The subject's folder."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="NAME.tracked", help_behavior_hint="")] = None
    """Where to write; by default the folder's name. Several cameras become folders inside it."""
    overwrite: bool = False
    """Replace a folder of this name."""

    def run(self) -> int | None:
        check_inputs([self.folder])
        output = named_output(self.output, [self.folder], ".tracked")
        if self.overwrite:
            check_replaceable_folder(output, [self.folder])

        from spatialavatar.prepare.importing import import_layout
        from spatialavatar.progress import Rich

        found = import_layout(
            self.layout,
            self.folder,
            output,
            head=self.given_head(),
            overwrite=self.overwrite,
            progress=Rich(),
        )
        for text in found.warnings:
            warn(text)
        for name, frames in found.report["frames"].items():
            aligned = found.report["alignment"][name]
            score = "" if aligned is None else f", the mesh overlaps the mattes by {aligned['overlap']:.2f}"
            say(f"Imported: {name}  ({frames} frames{score})")
        say(f"Written:  {output}")
        say(f"Next:     spatialavatar create {shell_quoted(found.folders[0])}")
        return None
