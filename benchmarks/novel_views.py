"""How an avatar of one camera's pictures looks from elsewhere: scored in other cameras that saw the same instants.

    python benchmarks/novel_views.py -o quick.json --sheet quick.jpg            # four people, a photo and 10 s of video
    python benchmarks/novel_views.py --people all -o all.json                   # everybody, the long form
    python benchmarks/novel_views.py --tracking lens-known -o lens.json         # the tracker is told the focal length
    python benchmarks/novel_views.py --without light -o without-light.json      # one rule of Stage 2 left out
    python benchmarks/novel_views.py --seeds 3 -o seeds.json                    # with its noise
    python benchmarks/novel_views.py --cameras left.mp4 middle.mp4 right.mp4 --filmed middle.mp4 -o real.json

Made-up people are drawn by a mesh renderer into one filmed camera and twelve others. What `create` makes of the filmed
pictures is drawn in the others with its own tracked motion, its world laid onto the true one by the head's mesh, and
held against what they saw, by bands of the angle to the filmed views. docs/novel_views.md says more.

Every step of every person is kept under --work: a run that was stopped goes on when the same command is given again,
and rules that are left out share their tracking with the first run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from novel_view_parts.cells import cells_of
from novel_view_parts.making import Input, Preset, Recipe, Tracking, options_of
from novel_view_parts.modes import MODES
from novel_view_parts.people import ALL, GROUPS, HELD_OUT, Person
from novel_view_parts.real import real_rows
from novel_view_parts.rules import RULES
from novel_view_parts.scored import Settings, rows_of
from novel_view_parts.sheet import SHOWN_CAMERAS, Line, contact_sheet
from novel_view_parts.tables import by_band, causes, noise_line
from PIL import Image

from spatialavatar.errors import UserError
from spatialavatar.evaluate.ablations.layout import provenance
from spatialavatar.files import write_atomically, write_json
from spatialavatar.head.open_head import load_open_head
from spatialavatar.progress import Rich
from spatialavatar.splat.lpips import find_lpips, load_lpips


@dataclass(frozen=True)
class Options:
    """What to make and to score."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("novel_views.json")
    """The result."""
    people: tuple[str, ...] = ("short",)
    """short (four), tuning (eight), held-out (four who are not looked at while tuning), all, or names: person_03."""
    inputs: tuple[Input, ...] = ("photo", "video")
    """What avatars are made from."""
    preset: Preset = "quick"
    """As `create` has them."""
    tracking: Tracking = "found"
    """By our tracker, by our tracker with the focal length known, or the truth instead."""
    without: tuple[str, ...] = ()
    """Rules of Stage 2 to leave out."""
    seeds: int = 1
    """Avatars of each person and input, with seeds 0, 1, ..."""
    modes: tuple[str, ...] = MODES
    """Which truths are put in, one after the other, to tell causes apart."""
    work: Path = Path("novel-views-work")
    """Where steps are kept."""
    sheet: Path | None = None
    """A picture to write: truth beside avatar."""
    processes: int = 2
    """That draw people."""
    cameras: tuple[Path, ...] = ()
    """Synchronised videos of one real person, in place of made-up people."""
    filmed: Path | None = None
    """Which of them the avatar is made from."""


def main(options: Options) -> None:
    unknown = [name for name in options.without if name not in RULES]
    if unknown:
        raise UserError(f"there is no rule {unknown[0]!r}.", hint=f"There are: {', '.join(RULES)}.")
    wrong = [mode for mode in options.modes if mode not in MODES]
    if wrong:
        raise UserError(f"there is no mode {wrong[0]!r}.", hint=f"There are: {', '.join(MODES)}.")
    network = load_lpips() if None not in find_lpips() else None
    settings = Settings(
        work=options.work,
        head=load_open_head(),
        modes=options.modes,
        processes=options.processes,
        progress=Rich(),
        note=lambda text: print(text, file=sys.stderr, flush=True),
        network=network,
    )
    torch.set_num_threads(1)
    if options.cameras:
        cells, runs = _real(options, settings)
    else:
        cells, runs = _made_up(options, settings)
    write_json(options.output, {**_header(options, network is not None), "cells": _rounded(cells), "runs": runs})
    print(report(cells, options))


def _made_up(options: Options, settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    cells: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    lines = []
    for person in chosen(options.people):
        for kind in options.inputs:
            for seed in range(options.seeds):
                recipe = Recipe(kind, options.preset, options.tracking, options.without, seed)
                settings.note(f"{person.name}, {recipe.name}")
                result = rows_of(person, recipe, settings)
                cells += cells_of(result["rows"], person=person.name, input=kind, seed=seed)
                runs.append(
                    {key: result[key] for key in ("person", "recipe", "focal_over_true", "residual_mm", "seconds")}
                )
                if seed == 0:
                    lines.append(_sheet_line(person, kind, result, settings))
    if options.sheet is not None:
        with write_atomically(options.sheet) as temporary:
            form = "JPEG" if options.sheet.suffix.lower() in (".jpg", ".jpeg") else "PNG"
            Image.fromarray(contact_sheet(lines)).save(temporary, format=form, quality=88)
    return cells, runs


def _real(options: Options, settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if options.filmed is None or options.filmed not in options.cameras or len(options.cameras) < 2:
        raise UserError("--filmed must be one of at least two --cameras.")
    cells: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        recipe = Recipe("video", options.preset, "found", options.without, seed)
        result = real_rows(options.cameras, options.filmed, recipe, options_of(recipe), settings)
        cells += cells_of(result["rows"], person=options.filmed.stem, input="video", seed=seed)
        runs.append({key: result[key] for key in ("person", "recipe", "residual_mm", "seconds", "cameras")})
    return cells, runs


def chosen(names: tuple[str, ...]) -> list[Person]:
    """People by group or name, each once.

    Raises:
        UserError: A name is unknown.
    """
    known = {person.name: (person,) for person in ALL} | GROUPS
    for name in names:
        if name not in known:
            raise UserError(f"no person is called {name!r}.", hint=f"There are: {', '.join(known)}.")
    return list(dict.fromkeys(person for name in names for person in known[name]))


def _sheet_line(person: Person, kind: str, result: dict[str, Any], settings: Settings) -> Line:
    folder = settings.work / "scores" / result["pictures"]
    pictures = []
    for camera in SHOWN_CAMERAS:
        path = folder / f"{camera}.png"
        if path.is_file():
            rows = [row for row in result["rows"] if row["mode"] == "tracked" and row["camera"] == camera]
            pictures.append((path, f"{camera}, {rows[0]['angle']:.0f} deg from filmed"))
    return Line(f"{person.name}\n{kind}", pictures)


def _header(options: Options, has_lpips: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "preset": options.preset,
        "tracking": options.tracking,
        "without": list(options.without),
        "seeds": options.seeds,
        "people": list(options.people),
        "held_out_people": [person.name for person in HELD_OUT],
        "lpips": has_lpips,
    }
    if options.cameras:
        plain |= {"cameras": [path.name for path in options.cameras], "filmed": options.filmed and options.filmed.name}
    command = "python benchmarks/novel_views.py " + " ".join(Path(word).name for word in sys.argv[1:])
    return {"benchmark": "novel_views", "format_version": 1, "made_with": provenance(command), "settings": plain}


def _rounded(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: round(v, 7) if isinstance(v, float) else v for key, v in cell.items()} for cell in cells]


def report(cells: list[dict[str, Any]], options: Options) -> str:
    """The tables, and the noise over seeds."""
    parts = []
    for kind in dict.fromkeys(cell["input"] for cell in cells):
        for mode in dict.fromkeys(cell["mode"] for cell in cells if cell["input"] == kind):
            if mode in ("tracked", "driven") or options.cameras:
                parts.append(by_band(cells, kind, mode))
        if not options.cameras:
            parts.append(causes(cells, kind))
        parts.append(f"Standard deviation over seeds of one {kind}'s PSNR above the chin: {noise_line(cells, kind)}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except UserError as error:
        raise SystemExit(f"{error}") from None
