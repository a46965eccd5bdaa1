"""Tables in Markdown, in the layout of the paper's, with the paper's rows beside the measured ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files

from spatialavatar.errors import UserError
from spatialavatar.evaluate.statistics import Mean

HEADINGS = {
    "mse": ("MSE x 1e-3 ↓", 1e3, 3),
    "psnr": ("PSNR ↑", 1, 2),
    "ssim": ("SSIM ↑", 1, 3),
    "ssim_reflect": ("SSIM, reflected ↑", 1, 3),
    "ms_ssim": ("MS-SSIM ↑", 1, 3),
    "lpips": ("LPIPS ↓", 1, 3),
    "csim": ("CSIM ↑", 1, 3),
    "aed": ("AED ↓", 1, 3),
    "aed_sum": ("AED, sum ↓", 1, 2),
    "apd": ("APD ↓", 1, 3),
    "apd_sum": ("APD, sum ↓", 1, 3),
    "akd": ("AKD ↓", 1, 3),
    "akd_sum": ("AKD, sum ↓", 1, 1),
    "akd_l1": ("AKD, L1 ↓", 1, 3),
    "psnr_above_chin": ("PSNR above chin ↑", 1, 2),
    "psnr_face": ("PSNR face ↑", 1, 2),
    "psnr_mouth": ("PSNR mouth ↑", 1, 2),
    "psnr_eyes": ("PSNR eyes ↑", 1, 2),
    "psnr_hair": ("PSNR hair ↑", 1, 2),
    "spike": ("spikes x 1e-3 ↓", 1, 3),
    "flicker": ("flicker ↓", 1, 3),
    "jitter": ("jitter ↓", 1, 3),
    "blink": ("blinks agree ↑", 1, 3),
    "eye_opening": ("eye opening ↓", 1, 3),
}
"""Metric -> heading, factor, decimals."""


def heading(name: str) -> tuple[str, float, int]:
    """Of a metric, also of a given estimator's (`aed@NAME`)."""
    metric, _, estimator = name.partition("@")
    title, factor, decimals = HEADINGS[metric]
    return (f"{title} ({estimator})" if estimator else title), factor, decimals


OTHER_ESTIMATOR = ("csim", "aed", "apd", "akd")
"""Columns whose numbers depend on a network that the paper's authors had and we may not have used."""


@dataclass(frozen=True)
class PaperTable:
    """Printed figures: name of a method -> one number per column."""

    title: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]


def paper_table(name: str) -> PaperTable:
    """One of the paper's tables.

    Raises:
        UserError: There is none of this name.
    """
    tables = json.loads((package_files("spatialavatar.evaluate") / "paper.json").read_text("utf-8"))["tables"]
    if name not in tables:
        raise UserError(f"there is no table {name!r}.", hint=f"There are: {', '.join(tables)}.")
    found = tables[name]
    return PaperTable(
        found["title"], tuple(found["columns"]), {row: tuple(values) for row, values in found["rows"].items()}
    )


def markdown(
    rows: Mapping[str, Mapping[str, Mean]], *, beside: PaperTable | None = None, columns: Sequence[str] | None = None
) -> str:
    """A table with the measured rows last.

    Args:
        rows: Name of a row -> metric -> mean.
        beside: The paper's rows, which come first, and whose columns it takes.
        columns: Which metrics; by default those of `beside`, then everything else that was measured.
    """
    found = dict.fromkeys(name for row in rows.values() for name in row)
    measured = [name for name in HEADINGS if name in found] + [name for name in found if "@" in name]
    if columns is None:
        shared = list(beside.columns) if beside is not None else []
        columns = [*shared, *(name for name in measured if name not in shared)]
    foreign = [name for name in columns if beside is not None and name in OTHER_ESTIMATOR and name in measured]
    heads = [heading(name)[0] + (" †" if name in foreign else "") for name in columns]
    lines = [f"| {' | '.join(['', *heads])} |", f"| {' | '.join(['---'] * (len(columns) + 1))} |"]
    if beside is not None:
        for method, values in beside.rows.items():
            printed = dict(zip(beside.columns, values, strict=True))
            lines.append(_line(method, [_printed(name, printed.get(name)) for name in columns]))
    for row, means in rows.items():
        lines.append(_line(f"**{row}**", [_measured(name, means.get(name)) for name in columns]))
    text = "\n".join(lines) + "\n\nMeasured rows show the mean and half the width of its 95 % bootstrap interval.\n"
    if foreign:
        text += (
            "\n† Measured with other networks than the paper's (the ids in report.json name them): the printed figures "
            "of this column do not compare with the measured ones.\n"
        )
    return text


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _printed(name: str, value: float | None) -> str:
    if value is None:
        return ""
    _, factor, decimals = heading(name)
    return f"{value * factor:.{decimals}f}"


def _measured(name: str, mean: Mean | None) -> str:
    if mean is None or not math.isfinite(mean.mean):
        return "–"
    _, factor, decimals = heading(name)
    half = (mean.high - mean.low) / 2
    return f"{mean.mean * factor:.{decimals}f} ± {half * factor:.{decimals}f}"
