"""What this program made and may therefore replace: no command writes over, or removes, anything else.

A file counts as ours when it says so itself (avatars, motions, checkpoints, generators: the format in their header;
pictures: a PNG text; reports: their keys) or, for formats that cannot say it, when a report of ours beside it lists the
file with the same bytes. A file that somebody edited is no longer ours. A folder counts as ours when it holds a header
of ours and nothing that we would not put there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spatialavatar.errors import UserError
from spatialavatar.files import write_json
from spatialavatar.input_files import read_json
from spatialavatar.text import shell_quoted
from spatialavatar.unfinished import tidy

SOFTWARE = "SpatialAvatar"
"""The value of the PNG text `Software` in pictures of ours."""

FOLDER_FILE = ".spatialavatar.json"
"""Marks a folder that a command works in over several runs, such as the output of `evaluate`."""

LONGEST_NAME = 200
"""Bytes of an output's name. Systems allow 255; reports, checkpoints and temporary files beside it have longer ones."""

_LONGEST_HEADER = 100_000_000
_TRACKED = frozenset(
    {"sequence.json", "motion.safetensors", "report.json", "images", "mattes", "overlay.mp4", "overlay.png"}
    | {"curves.png"}
)
_RIG = frozenset({"rig.json", "head.glb", "splats.bin", "README.md", "report.json"})
# What file managers and versioning leave in any folder.
_SYSTEM = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def check_output(output: Path, inputs: Iterable[Path]) -> None:
    """A file may be written here: nothing is there, or an earlier one of ours that is not an input now.

    Args:
        output: The file to write.
        inputs: What the command reads; folders stand for all they hold.

    Raises:
        UserError: It is an input, a file that we did not make, or its name is too long.
    """
    check_name(output)
    hint = "Choose another name with -o."
    for path in inputs:
        if _same_place(output, path):
            raise UserError("this file is read by the command and cannot be its output.", where=output, hint=hint)
        if path.is_dir() and _is_inside(output, path):
            raise UserError(f"this file would be written into {path.name}, which is read.", where=output, hint=hint)
    if os.path.lexists(output) and not output.is_dir() and not made_here(output):
        raise UserError(
            "this file exists, and SpatialAvatar did not make it or it was changed since; it is never written over.",
            where=output,
            hint=hint,
        )


def check_outputs(outputs: Iterable[Path], inputs: Sequence[Path]) -> None:
    """`check_output` for every file of a command."""
    for output in outputs:
        check_output(output, inputs)


def check_replaceable_folder(folder: Path, inputs: Iterable[Path]) -> None:
    """A folder that is about to be replaced holds nothing but what we put there, and no input.

    Raises:
        UserError: It does, and is left as it is.
    """
    check_name(folder)
    for path in inputs:
        if _same_place(folder, path) or _is_inside(path, folder):
            raise UserError(
                f"this folder cannot be replaced: {path.name}, which the command reads, is in it.",
                where=folder,
                hint="Choose another name with -o.",
            )
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise UserError("this is not a folder that SpatialAvatar made.", where=folder, hint="Choose another name: -o.")
    if (found := foreign_entry(folder)) is not None:
        raise UserError(
            f"this folder holds {found}, which SpatialAvatar did not make; it is not replaced.",
            where=folder,
            hint="Move that file away, or choose another name with -o.",
        )


def claim_folder(folder: Path, command: str, inputs: Iterable[Path] = ()) -> None:
    """Make the folder that a command works in, or go on in one of ours; it is marked by a hidden file.

    Args:
        folder: Where; missing, empty, or a folder that the same command worked in before.
        command: Which, for example "evaluate".
        inputs: What the command reads; none may be this folder.

    Raises:
        UserError: Something else is there.
    """
    check_name(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError("a file of this name is in the way.", where=folder, hint="Choose another folder with -o.")
    if not folder.resolve().parent.is_dir():
        raise UserError(
            "the folder to write into does not exist.",
            where=folder.parent,
            hint=f"mkdir -p {shell_quoted(folder.parent)}",
        )
    for path in inputs:
        if _same_place(folder, path):
            raise UserError("this folder is read and cannot be the output.", where=folder, hint="Choose another: -o.")
    marker = folder / FOLDER_FILE
    if marker.is_file():
        found = _json_object(marker).get("command")
        if found != command:
            raise UserError(
                f"this folder belongs to `spatialavatar {found}`.", where=folder, hint="Choose another folder with -o."
            )
        return
    tidy(folder)  # a run that was killed right here
    if folder.is_dir() and any(entry.name not in _SYSTEM for entry in folder.iterdir()):
        raise UserError(
            "this folder is not empty, and SpatialAvatar did not make it.",
            where=folder,
            hint="Choose a new or an empty folder with -o.",
        )
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"this folder cannot be made ({error.strerror}).", where=folder) from None
    write_json(marker, {"command": command, "note": "SpatialAvatar made this folder and may replace what is in it."})


def check_name(output: Path) -> None:
    """The name leaves room for those of temporary files and reports beside it.

    Raises:
        UserError: It does not, or no file can have it.
    """
    try:
        length = len(os.fsencode(output.name))
    except UnicodeEncodeError:
        raise UserError("this name cannot be written here.", where=output, hint="Choose another with -o.") from None
    if length > LONGEST_NAME:
        raise UserError(
            f"this name is too long: {length} bytes, at most {LONGEST_NAME}.",
            where=output,
            hint="Choose a shorter one with -o.",
        )
    if "\0" in str(output):
        raise UserError("no file can have this name: it holds a NUL character.", where=output)


def made_here(path: Path) -> bool:
    """Whether a file is ours and as we left it."""
    if path.is_symlink() or not path.is_file():
        return False
    if path.name.endswith(".safetensors") or path.suffix == ".avatar":
        return _format_of(path).startswith("spatialavatar")
    if path.name.endswith(".report.json"):
        return _is_report(_json_object(path))
    if path.suffix.lower() == ".png" and _is_our_picture(path):
        return True
    return any(_lists(report, path) for report in _reports_beside(path))


def file_records(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """What a report says of the files it stands for: bytes and SHA-256, by name."""
    return {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in paths if path.is_file()}


def foreign_entry(folder: Path) -> str | None:
    """The first thing in a folder that we would not have put there, relative to it; None where there is none.

    Tracked folders (several cameras are folders inside one) and rigs are known; any other folder is foreign itself.
    """
    if (folder / "rig.json").is_file() and _format_in(folder / "rig.json").startswith("spatialavatar"):
        return _first_unknown(folder, _RIG)
    if (folder / "sequence.json").is_file() and _format_in(folder / "sequence.json").startswith("spatialavatar"):
        if (found := _first_unknown(folder, _TRACKED)) is not None:
            return found
        names = _json_object(folder / "sequence.json").get("names")
        known = {f"{name}.png" for name in names} if isinstance(names, list) else set()
        for part in ("images", "mattes"):
            if (folder / part).is_dir() and (found := _first_unknown(folder / part, known)) is not None:
                return f"{part}/{found}"
        return None
    entries = sorted(entry for entry in folder.iterdir() if entry.name not in _SYSTEM)
    cameras = [entry for entry in entries if entry.is_dir() and (entry / "sequence.json").is_file()]
    for entry in entries:
        if entry not in cameras:
            return entry.name
        if (found := foreign_entry(entry)) is not None:
            return f"{entry.name}/{found}"
    return None


def _first_unknown(folder: Path, known: Iterable[str]) -> str | None:
    unknown = {entry.name for entry in folder.iterdir()} - set(known) - _SYSTEM
    return min(unknown) if unknown else None


def _same_place(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        if one.exists() and other.exists() and one.samefile(other):
            return True
    return one.resolve() == other.resolve()


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve() != folder.resolve() and path.resolve().is_relative_to(folder.resolve())


def _format_of(path: Path) -> str:
    """The `format` that a safetensors file states; empty for anything else."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 2 <= length <= _LONGEST_HEADER else {}
        return str(header["__metadata__"]["format"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return ""


def _format_in(path: Path) -> str:
    return str(_json_object(path).get("format", ""))


def _json_object(path: Path) -> dict[str, Any]:
    with contextlib.suppress(UserError):
        value = read_json(path)
        if isinstance(value, dict):
            return value
    return {}


def _is_report(value: dict[str, Any]) -> bool:
    return "command" in value and ("versions" in value or "version" in value)


def _is_our_picture(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.format == "PNG" and picture.info.get("Software") == SOFTWARE
    except (OSError, SyntaxError, ValueError):
        return False


def _reports_beside(path: Path) -> list[Path]:
    """Where the report of a file can be: NAME.report.json for its whole name, and for every shorter one."""
    stems = [path.name]
    while Path(stems[-1]).suffix:
        stems.append(Path(stems[-1]).stem)
    return [path.with_name(f"{stem}.report.json") for stem in stems]


def _lists(report: Path, path: Path) -> bool:
    if not report.is_file():
        return False
    contents = _json_object(report)
    files = contents.get("files")
    record = files.get(path.name) if isinstance(files, dict) else None
    return (
        _is_report(contents)
        and isinstance(record, dict)
        and record.get("bytes") == path.stat().st_size
        and record.get("sha256") == _sha256(path)
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        # hashlib.file_digest is Python 3.11's.
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
