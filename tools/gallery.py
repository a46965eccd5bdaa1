"""Make docs/gallery.md and its pictures: avatars of made-up people and of portraits that are free to show.

python tools/gallery.py --work gallery-output --portrait lincoln.png "Abraham Lincoln, 1863, public domain"

Made-up people come from `spatialavatar synth`'s held-out set, the first portrait is the astronaut of scikit-image. What
lies in the work folder already is used again.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.file import load_avatar
from spatialavatar.create import CreateOptions, create_avatar
from spatialavatar.drive.recording import ARKIT_NAMES, Recording
from spatialavatar.drive.retarget import retarget
from spatialavatar.drive.video import draw
from spatialavatar.head.motion import Motion
from spatialavatar.progress import Rich
from spatialavatar.sequence.folder import read_sequence
from spatialavatar.synth.make import SetPlan, make_set

DOCS = Path(__file__).parent.parent / "docs"
SIDE = 160
"""Pixels of one picture in a strip."""
SET_SEED = 5

# Yaw and pitch of the head in degrees, and weights of ARKit's shapes.
VIEWS: tuple[tuple[float, float, dict[str, float]], ...] = (
    (0, 0, {}),
    (-30, 0, {}),
    (30, 0, {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}),
    (-8, 4, {"jawOpen": 0.6, "browInnerUp": 0.7, "browOuterUpLeft": 0.5, "browOuterUpRight": 0.5}),
    (10, -4, {"mouthPucker": 0.8, "browDownLeft": 0.5, "browDownRight": 0.5}),
    (0, 0, {"eyeBlinkLeft": 1.0}),
)


@dataclass(frozen=True)
class Subject:
    """name: Of its files.
    source: A photo, or a tracked folder.
    about: Who it is, and why the picture may be shown.
    consent: For the avatar's file.
    """

    name: str
    source: Path
    about: str
    consent: str


def main() -> None:
    parser = argparse.ArgumentParser(description="Make docs/gallery.md and its pictures.")
    parser.add_argument("--work", type=Path, default=Path("gallery-output"), help="where avatars are kept")
    parser.add_argument("--people", type=int, default=3, help="how many made-up people")
    parser.add_argument("--frames", type=int, default=12, help="pictures of each of them")
    parser.add_argument("--portrait", nargs=2, action="append", default=[], metavar=("FILE", "ABOUT"))
    parser.add_argument("--full", action="store_true", help="the full settings instead of the fast ones")
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    portraits = [(Path(file), about) for file, about in given.portrait]
    subjects = [*_portraits(given.work, portraits), *_people(given.work, given.people, given.frames)]
    rows = []
    for subject in subjects:
        avatar, seconds = _avatar(subject, given.work, given.full)
        name = f"gallery_{subject.name}.jpg"
        strip(subject.source, avatar).save(DOCS / "images" / name, quality=88, optimize=True)
        rows.append(f"![{subject.about}](images/{name})\n\n{subject.about}. {len(avatar):,} Gaussians, {seconds}.\n")
        print(DOCS / "images" / name)
    (DOCS / "gallery.md").write_text(_page(rows, given.full), encoding="utf-8")
    print(DOCS / "gallery.md")


def strip(source: Path, avatar: Avatar) -> Image.Image:
    """The source beside the avatar in all `VIEWS`."""
    camera = avatar.default_camera(2 * SIDE)
    pictures = [_source_picture(source)]
    for yaw, pitch, weights in VIEWS:
        neutral = Motion.neutral(1, len(ARKIT_NAMES))
        expression = torch.tensor([[weights.get(name, 0.0) for name in ARKIT_NAMES]])
        turned = torch.tensor([[math.radians(pitch), math.radians(yaw), 0.0]])
        motion = replace(neutral, expression=expression, neck_rotation=0.5 * turned, global_rotation=0.5 * turned)
        recording = Recording(motion, ARKIT_NAMES, 25.0, None, neutral, "gallery")
        pictures.append(draw(avatar, retarget(recording, avatar), camera, (1.0, 1.0, 1.0)))
    return Image.fromarray(np.concatenate([_square(picture) for picture in pictures], 1))


def _portraits(work: Path, given: list[tuple[Path, str]]) -> list[Subject]:
    from skimage import data

    astronaut = work / "astronaut.png"
    if not astronaut.exists():
        Image.fromarray(data.astronaut()).save(astronaut)
    free = "a portrait in the public domain"
    first = Subject("astronaut", astronaut, "Eileen Collins, NASA, public domain; one photo", free)
    return [first, *(Subject(file.stem, file, f"{about}; one photo", free) for file, about in given)]


def _people(work: Path, count: int, frames: int) -> list[Subject]:
    plan = SetPlan(name="held_out", subjects=count, frames=frames, cameras=1, size=512, seed=SET_SEED)
    root = make_set(plan, work / "people", progress=Rich(), sheet=False)
    names = json.loads((root / "set.json").read_text())["subjects"][:count]
    about = f"nobody: a made-up person, {frames} pictures"
    return [Subject(name, next((root / name).glob("*/")), f"{name}: {about}", "nobody") for name in names]


def _avatar(subject: Subject, work: Path, full: bool) -> tuple[Avatar, str]:
    """The avatar, and how long it took to make."""
    path = work / f"{subject.name}.avatar"
    if not path.exists():
        options = CreateOptions(fast=not full, consent=subject.consent)
        create_avatar([subject.source], path, options, Rich())
    report = json.loads(path.with_suffix(".report.json").read_text())
    return load_avatar(path), f"made in {report['seconds']:.0f} s"


def _source_picture(source: Path) -> NDArray[np.uint8]:
    if source.is_dir():
        return read_sequence(source).image(0).numpy()
    return np.asarray(Image.open(source).convert("RGB"))


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(picture)
    side = min(image.size)
    left = (image.width - side) // 2
    square = image.crop((left, 0, left + side, side))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _page(rows: list[str], full: bool) -> str:
    settings = "the full settings" if full else "`--fast`"
    return (
        "# Gallery\n\n"
        f"Made by `python tools/gallery.py` with {settings}, on two cores without a GPU. First in each row is a source "
        "picture, then the avatar: at rest, turned to both sides, and making faces that no source shows.\n\n"
        + "\n".join(rows)
    )


if __name__ == "__main__":
    main()
