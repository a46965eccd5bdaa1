"""`spatialavatar info`: the header of one of our files as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from spatialavatar.cli.run import Common, say, shown
from spatialavatar.errors import UserError
from spatialavatar.products import check_output
from spatialavatar.text import printable


@dataclass(frozen=True, kw_only=True)
class Info(Common):
    """Show what an avatar, a motion file or a tracked folder holds, without its head and without loading it.

    For example:
        spatialavatar info me.avatar
    """

    path: Positional[Path]
    """The file or folder."""
    preview: Annotated[Path | None, arg(aliases=["-o"], metavar="NAME.png", help_behavior_hint="")] = None
    """Write the avatar's preview picture here (.png)."""

    def run(self) -> int | None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        if self.preview is not None:
            check_output(self.preview, [self.path])
        table = Table("", "", show_header=False, title=shown(str(self.path)), title_justify="left", box=None)
        for key, value in _facts(self.path).items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            table.add_row(Text(printable(key), style="bold"), shown(text))
        Console().print(table)
        if self.preview is not None:
            _write_preview(self.path, self.preview)
        return None


def _facts(path: Path) -> dict[str, object]:
    if path.is_dir():
        return _facts_of_folder(path)
    if path.name.endswith(".motion.safetensors"):
        from spatialavatar.drive.motion_file import read_motion_header

        contents = read_motion_header(path)
        facts: dict[str, object] = {"file version": str(contents.version), **contents.header}
        facts["frames"] = contents.entries["expression"].shape[0]
    else:
        from spatialavatar.avatar.file import read_avatar_header

        contents = read_avatar_header(path)
        facts = {"file version": str(contents.version), **contents.header}
        provenance = facts.pop("provenance")
        assert isinstance(provenance, dict)
        facts |= {f"  {key}": value for key, value in provenance.items()}
        facts["preview"] = "yes" if "preview_png" in contents.entries else "no"
    names = facts.get("expression_names")
    if isinstance(names, list) and len(names) > 6:
        facts["expression_names"] = f"{len(names)}: {', '.join(names[:4])}, ..., {names[-1]}"
    facts["size"] = f"{path.stat().st_size / 2**20:.1f} MB"
    return facts


def _facts_of_folder(path: Path) -> dict[str, object]:
    from spatialavatar.sequence.folder import read_sequence

    sequence = read_sequence(path)
    return {
        "kind": sequence.kind,
        "frames": len(sequence),
        "size": f"{sequence.width} x {sequence.height}",
        "frame_rate": sequence.frame_rate,
        "head_edition": sequence.head_edition,
        **{f"  {key}": value for key, value in sequence.source.items()},
    }


def _write_preview(path: Path, output: Path) -> None:
    from spatialavatar.avatar.file import read_preview
    from spatialavatar.files import write_atomically

    content = read_preview(path)
    if content is None:
        raise UserError("this avatar has no preview picture.", where=path, hint="Render one: spatialavatar render")
    with write_atomically(output) as temporary:
        temporary.write_bytes(content)
    say(f"Preview: {output}")
