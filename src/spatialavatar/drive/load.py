"""One entry for everything that can drive an avatar, by what it is."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from spatialavatar.drive.arkit_npz import read_arkit_npz
from spatialavatar.drive.arkit_table import recording_of_table, text_of
from spatialavatar.drive.audio2face import read_audio2face
from spatialavatar.drive.flame_npz import is_flame_npz, read_flame_npz
from spatialavatar.drive.ifacialmocap import is_ifacialmocap, recording_of_ifacialmocap
from spatialavatar.drive.motion_file import SUFFIX, read_motion
from spatialavatar.drive.recording import Recording, recording_of_sequence
from spatialavatar.drive.show import expression_reel, for_head, joined, turntable
from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.sequence.folder import is_tracked_folder, read_sequence
from spatialavatar.sequence.sequence import TrackedSequence

SHOWS = ("turntable", "reel", "show")
"""Built-in motion: the turntable, the expression reel, and both."""


def load_recording(
    what: str | os.PathLike[str],
    head: Head,
    *,
    frame_rate: float | None = None,
    warn: Callable[[str], None] | None = None,
) -> Recording:
    """Read a recording of any kind.

    Args:
        what: A tracked folder, a motion file, an ARKit table (.csv, .tsv, .txt or .npz), iFacialMocap's lines (.txt),
            Audio2Face's export (.json), FLAME's npz, or one of `SHOWS`.
        head: The avatar's head: built-in motion is made for it, and it names the expressions of tracked folders.
        frame_rate: Frames per second that win over the file's own; for files, not for folders or built-in motion.
        warn: Gets every note of the recording, a line each; without it they are Python warnings. `Recording.notes`
            keeps them.

    Raises:
        UserError: There is no such thing, or something is wrong with it.
    """
    recording = _recording(what, head, frame_rate)
    for note in recording.notes:
        line = f"{recording.source}: {note}"
        if warn is None:
            warnings.warn(line, UserWarning, stacklevel=2)
        else:
            warn(line)
    return recording


def _recording(what: str | os.PathLike[str], head: Head, frame_rate: float | None) -> Recording:
    if str(what) in SHOWS and not Path(what).exists():
        return built_in(str(what), head)
    path = Path(what)
    if is_tracked_folder(path):
        sequence = read_sequence(path)
        return recording_of_sequence(sequence, head_of_sequence(sequence, head), path.name)
    if not path.exists():
        raise UserError(
            "there is no such file or folder.", where=path, hint=f"Built-in motion is one of {', '.join(SHOWS)}."
        )
    if path.is_dir():
        raise UserError("this folder is not a tracked one.", where=path, hint="`spatialavatar track` makes one.")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return read_motion(path, frame_rate)
    if suffix in (".csv", ".tsv", ".txt"):
        text, notes = text_of(path)
        read = recording_of_ifacialmocap if is_ifacialmocap(text) else recording_of_table
        return read(text, path, frame_rate, notes)
    if suffix == ".json":
        return read_audio2face(path, frame_rate)
    if suffix == ".npz":
        return read_flame_npz(path, head, frame_rate) if is_flame_npz(path) else read_arkit_npz(path, frame_rate)
    raise UserError(
        f"nothing can be driven with a file ending in '{path.suffix}'.",
        where=path,
        hint=f"Give a video, a tracked folder, a {SUFFIX} file or an ARKit table (.csv, .npz, .json, .txt).",
    )


def built_in(name: str, head: Head) -> Recording:
    """The built-in motion of this name, in the head's own terms."""
    turning = for_head(turntable(), head.expression_names, head.edition)
    if name == "turntable":
        return turning
    talking = for_head(expression_reel(), head.expression_names, head.edition)
    return talking if name == "reel" else joined(turning, talking)


def head_of_sequence(sequence: TrackedSequence, head: Head) -> Head:
    """The head that a sequence was tracked with: the avatar's, or the built-in one.

    Raises:
        UserError: It is neither.
    """
    for known in (head, load_open_head()):
        if known.edition == sequence.head_edition:
            return known
    raise UserError(
        f"these frames were tracked with the head {sequence.head_edition}, which is not at hand; the avatar has "
        f"{head.edition}.",
        where=sequence.folder,
        hint="Track the driver again with the avatar's own head.",
    )
