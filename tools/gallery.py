"""Make docs/gallery.md and its pictures: avatars of made-up people and of portraits that are free to show.

python tools/gallery.py --work gallery-output --portrait lincoln.png "Abraham Lincoln, 1863, public domain"

Made-up people come from `spatialavatar synth`'s held-out set, the first portrait is the astronaut of scikit-image. What
lies in the work folder already is used again.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill

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
SIDE = 240
"""Pixels of one picture."""
COLUMNS = 4
SET_SEED = 5
ITERATIONS = 1_200
"""Of a made-up person's refinement: some pictures from all around, perfectly tracked, need few."""

# Yaw and pitch of the head in degrees, and weights of ARKit's shapes.
VIEWS: tuple[tuple[float, float, dict[str, float]], ...] = (
    (0, 0, {}),
    (-30, 0, {}),
    (30, 0, {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}),
    (-8, 4, {"jawOpen": 0.6, "browInnerUp": 0.7, "browOuterUpLeft": 0.5, "browOuterUpRight": 0.5}),
    (10, -4, {"mouthPucker": 0.8, "browDownLeft": 0.5, "browDownRight": 0.5}),
    (0, 0, {"eyeBlinkLeft": 1.0}),
    (22, 10, {"eyeLookInLeft": 0.6, "eyeLookOutRight": 0.6, "mouthFrownLeft": 0.7, "mouthFrownRight": 0.7}),
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
        avatar = _avatar(subject, given.work, given.full)
        name = f"gallery_{subject.name}.jpg"
        sheet(_source_picture(subject, given.work), avatar).save(DOCS / "images" / name, quality=85, optimize=True)
        rows.append(f"![{subject.about}](images/{name})\n\n{subject.about}.\n")
        print(DOCS / "images" / name)
    (DOCS / "gallery.md").write_text(_page(rows, given.full, command(sys.argv[1:])), encoding="utf-8")
    print(DOCS / "gallery.md")


def command(arguments: list[str]) -> str:
    """The line that makes the same page: files by name only, and where avatars were kept left out."""
    kept = list(arguments)
    if "--work" in kept:
        at = kept.index("--work")
        del kept[at : at + 2]
    return shlex.join(
        ["python", "tools/gallery.py", *(Path(word).name if Path(word).is_file() else word for word in kept)]
    )


def sheet(source: NDArray[np.uint8], avatar: Avatar) -> Image.Image:
    """The source, then the avatar in all `VIEWS`, in rows of `COLUMNS`."""
    camera = avatar.default_camera(2 * SIDE)
    pictures = [source]
    for yaw, pitch, weights in VIEWS:
        neutral = Motion.neutral(1, len(ARKIT_NAMES))
        expression = torch.tensor([[weights.get(name, 0.0) for name in ARKIT_NAMES]])
        turned = torch.tensor([[math.radians(pitch), math.radians(yaw), 0.0]])
        motion = replace(neutral, expression=expression, neck_rotation=0.5 * turned, global_rotation=0.5 * turned)
        recording = Recording(motion, ARKIT_NAMES, 25.0, None, neutral, "gallery")
        pictures.append(draw(avatar, retarget(recording, avatar), camera, (1.0, 1.0, 1.0)))
    squares = [_square(picture) for picture in pictures]
    rows = [np.concatenate(squares[at : at + COLUMNS], 1) for at in range(0, len(squares), COLUMNS)]
    return Image.fromarray(np.concatenate(rows))


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
    about = f"A made-up person; {frames} drawn pictures"
    return [Subject(name, next((root / name).glob("*/")), about, "nobody") for name in names]


def _avatar(subject: Subject, work: Path, full: bool) -> Avatar:
    path = work / f"{subject.name}.avatar"
    if not path.exists():
        options = CreateOptions(
            fast=not full,
            consent=subject.consent,
            iterations=ITERATIONS if subject.source.is_dir() else None,
            resume=True,
        )
        create_avatar([subject.source], path, options, Rich())
    return load_avatar(path)


def _source_picture(subject: Subject, work: Path) -> NDArray[np.uint8]:
    """The first picture as tracking cropped it, so that it is framed like the avatar."""
    folder = subject.source if subject.source.is_dir() else work / f"{subject.name}.tracked"
    return read_sequence(folder).image(0).numpy()


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(picture)
    side = min(image.size)
    left = (image.width - side) // 2
    square = image.crop((left, 0, left + side, side))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _page(rows: list[str], full: bool, line: str) -> str:
    settings = "the settings that `create` has by itself" if full else "`create --fast`"
    first = (
        "First in each block is a source picture, then the avatar: at rest, turned to both sides, making faces that no "
        "source shows, and winking. What the sources do not show is a guess, and looks like one "
        "([what it cannot do](../README.md#what-it-cannot-do))."
    )
    last = (
        f"Made by the command below with {settings} (made-up people: {ITERATIONS:,} iterations), on a CPU. The made-up "
        "people are of `spatialavatar synth`'s held-out kind (see [synthetic people](synthetic_people.md)). "
        "Before you make avatars of others, [ask them](../README.md#consent-and-privacy)."
    )
    first, last = (fill(text, 120, break_on_hyphens=False) for text in (first, last))
    paragraphs = ["# Gallery", first, *(row.strip() for row in rows), last, f"```\n{line}\n```"]
    return "\n\n".join(paragraphs) + "\n"


if __name__ == "__main__":
    main()
