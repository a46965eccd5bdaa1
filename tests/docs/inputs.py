"""A folder with everything that README and docs name: recordings, photos, tables, avatars, other people's sets."""

from __future__ import annotations

import json
import pickle
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

import spatialavatar.generate
from spatialavatar.avatar.file import save_avatar
from spatialavatar.sequence.folder import write_sequence
from tests.drive.sources import live_link_table
from tests.sequence.readers.test_layouts import write_vhap
from tests.sequence.readers.truth import flame_file, truth
from tests.synthetic import Subject, subject
from tests.track.media import astronaut, save, swaying_video

RECORDINGS = ("me.mp4", "you.mp4", "film.mp4", "front.jpg", "left.jpg", "right.jpg", "side.jpg", "take.csv")
"""What a user has and no command may change."""


def recordings(folder: Path) -> None:
    """Videos of 8 and 6 frames, photos, and a second of an iPhone's take."""
    swaying_video(folder / "me.mp4", frames=8)
    swaying_video(folder / "you.mp4", frames=6)
    swaying_video(folder / "film.mp4", frames=6)
    face = astronaut()[:320, 60:380]
    for name, shift in (("front", 0), ("left", 6), ("right", -6), ("side", 4)):
        save(np.roll(face, shift, axis=1), folder / f"{name}.jpg", quality=92)
    live_link_table(folder / "take.csv", [{"JawOpen": k / 40, "HeadYaw": k / 100} for k in range(20)])


@lru_cache(maxsize=1)
def _subject() -> Subject:
    return subject(frames=50, size=64, resolution=24)


def tracked(path: Path, frames: int = 50) -> None:
    """A tracked folder of a made-up subject."""
    indices = list(range(frames))
    sequence = _subject().sequence
    images, mattes = [sequence.image(i) for i in indices], [sequence.matte(i) for i in indices]
    write_sequence(sequence.select(indices), path, images, mattes)


def made(folder: Path) -> None:
    """What earlier commands would have made: avatars and tracked folders."""
    for name in ("me", "before", "after", "a", "b"):
        save_avatar(_subject().avatar, folder / f"{name}.avatar")
    tracked(folder / "me.tracked")
    shipped = Path(spatialavatar.generate.__path__[0]) / "assets" / "compact.safetensors"
    (folder / "mine.safetensors").write_bytes(shipped.read_bytes())


def others(folder: Path) -> None:
    """What other programs made: a tracked folder of ours, one of VHAP's with its head, pictures, a set of clips."""
    tracked(folder / "theirs", 4)
    known = truth()
    write_vhap(folder / "SUBJECT", known)
    with np.load(flame_file(folder / "flame.npz")) as arrays:
        model = dict(arrays)
    np.savez(folder / "FLAME_texture.npz", vt=model.pop("vt"), ft=model.pop("ft"))
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(model))
    (folder / "clips").mkdir()
    for number in range(2):
        tracked(folder / "clips" / f"clip{number}", 6)
    celebvhq = folder / "sets" / "celebvhq"
    (celebvhq / "raw").mkdir(parents=True)
    swaying_video(celebvhq / "raw" / "abc.mp4", frames=6)
    box = {"top": 0.0, "bottom": 1.0, "left": 0.0, "right": 1.0}
    clip = {"ytb_id": "abc", "duration": {"start_sec": 0.0, "end_sec": 0.2}, "bbox": box}
    (celebvhq / "celebvhq_info.json").write_text(json.dumps({"clips": {"abc_0": clip}}), "utf-8")
    (folder / "interviews").mkdir()
    swaying_video(folder / "interviews" / "one.mp4", frames=6)


def predictions(folder: Path) -> None:
    """Another method's pictures of `me.tracked`."""
    for path in sorted((folder / "me.tracked" / "images").iterdir()):
        target = folder / "theirs" / f"{path.stem}.png"
        target.parent.mkdir(exist_ok=True)
        Image.open(path).convert("RGB").point(lambda value: min(255, value + 3)).save(target)
