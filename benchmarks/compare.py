"""Whether one result of `benchmarks/novel_views.py` differs from another by more than the noise, band by band.

    python benchmarks/compare.py A.json B.json
    python benchmarks/compare.py A.json B.json --figure psnr_face --mode tracked
    python benchmarks/compare.py A.json B.json C.json --markdown         # a table: a line for each, against A

Pictures of one person, seed and band belong together. The mean difference over people is held against Student's t
(95 %, two-sided), and against twice its standard deviation over seeds where there are several; it is above the noise
if it is larger than both.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from novel_view_parts.cells import FIGURES
from novel_view_parts.differences import Difference, differences
from novel_view_parts.tables import against

from spatialavatar.errors import UserError
from spatialavatar.input_files import read_json

VERDICTS = {True: "above the noise", False: "within the noise", None: "one person, one seed: not known"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, metavar="A.json")
    parser.add_argument("others", type=Path, metavar="B.json", nargs="+")
    parser.add_argument("--figure", choices=FIGURES, default="psnr_head")
    parser.add_argument("--mode", default="tracked", help="which pictures of the avatar; `all` for every mode")
    parser.add_argument("--markdown", action="store_true", help="as tables of PSNR above the chin, or of --figure")
    arguments = parser.parse_args()
    try:
        first = read_cells(arguments.first)
        others = [(path.stem, read_cells(path)) for path in arguments.others]
    except UserError as error:
        raise SystemExit(str(error)) from None
    if arguments.markdown:
        for kind in dict.fromkeys(cell["input"] for cell in first):
            print(against(first, others, kind, arguments.figure), end="\n\n")
        return
    for name, cells in others:
        found = differences(first, cells, arguments.figure)
        found = [each for each in found if arguments.mode in ("all", each.mode)]
        if not found:
            raise SystemExit(f"{name} has no person, input, seed, mode and band in common with {arguments.first.stem}.")
        print(f"{arguments.figure}: {name} less {arguments.first.stem}")
        for each in found:
            print(line(each))


def read_cells(path: Path) -> list[dict]:
    """The cells of a result.

    Raises:
        UserError: It is none.
    """
    contents = read_json(path)
    if not isinstance(contents, dict) or contents.get("benchmark") != "novel_views":
        raise UserError("this is not a result of benchmarks/novel_views.py.", where=path)
    return contents["cells"]


def line(each: Difference) -> str:
    """One difference as text."""
    noise = "   -" if math.isnan(each.seed_noise) else f"{each.seed_noise:.3f}"
    half = "   -" if math.isnan(each.half_width) else f"{each.half_width:.3f}"
    return (
        f"{each.input:6s} {each.mode:11s} {each.band:6s} {each.first:8.3f} {each.second:8.3f}  {each.mean:+.3f} "
        f"(95 % over {each.people} people: {half}; seeds: {noise}; higher in {each.better})  "
        f"{VERDICTS[each.above_noise]}"
    )


if __name__ == "__main__":
    main()
