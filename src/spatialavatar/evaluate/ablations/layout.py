"""What a table of ablations looks like: Markdown with the paper's figures beside ours, a sheet of pictures, and with
which command, machine and commit it was made."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

import spatialavatar
from spatialavatar.evaluate.ablations.scoring import RowScores
from spatialavatar.evaluate.pictures import Pixels

HEADINGS = {
    "psnr": ("PSNR ↑", 2),
    "psnr_above_chin": ("PSNR above chin ↑", 2),
    "ssim": ("SSIM ↑", 3),
    "spike": ("spikes ↓", 3),
    "max_aspect": ("largest aspect ↓", 1),
}
SIDE, _LABEL, _NAME = 160, 16, 200


def markdown(contents: Mapping[str, Any]) -> str:
    """The table: a line a row, printed figure, measured ones with half the width of their intervals."""
    rows = contents["rows"]
    measured = [name for name in HEADINGS if any(name in row.get("metrics", {}) for row in rows)] or ["psnr"]
    heads = [
        "",
        "paper's PSNR",
        *(HEADINGS[name][0] for name in measured),
        "to the first",
        "K",
        "scored after",
        "steps",
    ]
    lines = [f"# Table {contents['table']}: {contents['title']}", "", _line(heads), _line(["---"] * len(heads))]
    for row in rows:
        name = row["row"]
        if row["changes"]:
            name += " (" + ", ".join(f"{key} {value}" for key, value in row["changes"].items()) + ")"
        printed = f"{row['paper']['psnr']:.2f}"
        if "metrics" not in row:
            lines.append(_line([name, printed, row["missing"], *[""] * (len(heads) - 3)]))
            continue
        steps = row["settings"].get("steps") or [row["settings"]["refine"]["iterations"]]
        cells = [_cell(row["metrics"].get(metric), HEADINGS[metric][1]) for metric in measured]
        told = [
            _cell(row["difference"], 2, "+"),
            str(row["sources"]),
            row["ends"],
            " + ".join(str(count) for count in steps),
        ]
        lines.append(_line([name, printed, *cells, *told]))
    lines += [
        "",
        "The paper's figures are of other data and of its full training; what compares is the order of the rows. Ours "
        "are means over all held-out pictures with half the width of the 95 % bootstrap interval over people, and PSNR "
        "less that of the first row that was run, picture by picture. Each row was trained once, with one seed.",
    ]
    made = {
        tuple(row["made_with"][key] for key in ("command", "machine", "commit")) for row in rows if "metrics" in row
    }
    for command, machine, commit in sorted(made):
        lines += ["", f"`{command}`, {machine}, commit {commit}."]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(mean: Mapping[str, Any] | None, decimals: int, sign: str = "") -> str:
    if mean is None or mean["mean"] is None:
        return "–"
    return f"{mean['mean']:{sign}.{decimals}f} ± {(mean['high'] - mean['low']) / 2:.{decimals}f}"


def contact_sheet(rows: Sequence[tuple[str, RowScores]]) -> Pixels | None:
    """(H, W, 3): the people that the first row draws worst, middling and best; targets, then a line for every row."""
    if not rows or not rows[0][1].pictures:
        return None
    first = rows[0][1]
    order = sorted(first.pictures, key=lambda name: first.values["psnr"][name][0])
    chosen = list(dict.fromkeys([order[0], order[len(order) // 2], order[-1]]))
    lines = [_strip("target", [first.wanted[name] for name in chosen], ["" for _ in chosen])]
    for name, scores in rows:
        known = [person for person in chosen if person in scores.pictures]
        notes = [f"{scores.values['psnr'][person][0]:.2f} dB" for person in known]
        lines.append(_strip(name, [scores.pictures[person] for person in known], notes))
    width = max(line.shape[1] for line in lines)
    return np.concatenate([np.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0)), constant_values=255) for x in lines])


def _strip(name: str, pictures: Sequence[Pixels], notes: Sequence[str]) -> Pixels:
    canvas = Image.new("RGB", (_NAME + SIDE * len(pictures), SIDE + _LABEL), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((4, SIDE // 2), name, fill="black")
    for index, (picture, note) in enumerate(zip(pictures, notes, strict=True)):
        small = Image.fromarray(picture)
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        canvas.paste(small, (_NAME + SIDE * index, _LABEL))
        pen.text((_NAME + SIDE * index + 4, 2), note, fill="black")
    return np.asarray(canvas)


def provenance(command: str) -> dict[str, str]:
    """Command, machine, commit and versions that figures are to be read with."""
    return {
        "command": command,
        "machine": f"{os.cpu_count()} cores of {_processor()}"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        "commit": _commit(),
        "spatialavatar": spatialavatar.__version__,
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    """Of the checkout that the code lies in; with a + where it differs from the commit."""
    folder = Path(spatialavatar.__file__).parent

    def asked(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        name = asked("rev-parse", "--short", "HEAD")
        return (name + ("+" if asked("status", "--porcelain", "--", ".") else "")) or "unknown"
    except (OSError, subprocess.SubprocessError):
        return "unknown"
