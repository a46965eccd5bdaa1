"""`spatialavatar evaluate table N`: the paper's ablations, row by row."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from spatialavatar.cli.paths import check_inputs
from spatialavatar.cli.run import Common, say
from spatialavatar.errors import UserError
from spatialavatar.products import claim_folder
from spatialavatar.refine.config import RefineConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateTable(Common):
    """One of the paper's Tables 5 to 9: every row trained or refined as it says, and scored on held-out pictures, with
    the paper's figures beside. A run that was stopped goes on; finished rows are not run again, and rows share what
    they have in common.

    5 to 8 train generators on --data (Phase 1) and --multiview (Phase 2) and score them on --held-out; rows without
    data or weights are listed with what they lack. 9 refines the clips of --data.

    For example:
        spatialavatar evaluate table 7 --data sets/monocular --held-out sets/held_out --steps 500 -o tables
        spatialavatar evaluate table 8 --data sets/mono --multiview sets/multi --held-out sets/held_out -o tables
        spatialavatar evaluate table 9 --data me.tracked you.tracked -o tables
    """

    number: Positional[Annotated[Literal["5", "6", "7", "8", "9"], arg(metavar="N")]]
    """Which table."""
    data: Annotated[tuple[Path, ...], arg(metavar="FOLDER ...", help_behavior_hint="(required)")]
    """Sets for Phase 1; for table 9, tracked folders, folders of them, or videos."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR", help_behavior_hint="(required)")]
    """The folder to write: tableN.md, .json and .png, and everything that was trained on the way."""
    multiview: Annotated[tuple[Path, ...], arg(metavar="FOLDER ...", help_behavior_hint="")] = ()
    """Sets with several cameras, for Phase 2."""
    held_out: Annotated[tuple[Path, ...], arg(metavar="FOLDER ...", help_behavior_hint="")] = ()
    """Sets to score on, of people who are in none of the others."""
    most_held_out: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """From each of them at most so many people."""
    rows: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Only these rows."""
    recipe: Literal["compact", "paper"] = "compact"
    """Whose settings the rows change: the shipped model's, or the paper's."""
    steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Steps of Phase 1, in place of the recipe's; its schedule is squeezed with it."""
    second_steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Steps of Phase 2."""
    size: Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="")] = None
    """Side of the pictures that both phases see and that are scored, each drawn at that size, in place of the
    recipe's."""
    phase1: Annotated[Path | None, arg(metavar="RUN|FILE", help_behavior_hint="")] = None
    """A finished run of Phase 1, or a generator's file, from which all rows that do not change Phase 1 go on; otherwise
    it is trained."""
    hold_out: Literal["blocks", "tail"] = "blocks"
    """Table 9: which frames are scored; of clips below 50 frames every fourth."""
    resolution: int = 256
    """Table 9: side of the UV layout."""
    head: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """The head's file, where sets and clips were not tracked with the built-in one."""
    refine: RefineConfig = field(default_factory=RefineConfig)
    """The refinement that rows change."""

    def run(self) -> int | None:
        check_inputs([*self.data, *self.multiview, *self.held_out, *([self.phase1] if self.phase1 else [])])
        for name in ("steps", "second_steps", "most_held_out", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} is {value}; expected 1 or more.")

        from spatialavatar.evaluate.ablations.runner import RECIPES, Plan, of_size, run_table, shortened
        from spatialavatar.progress import Rich

        claim_folder(self.output, "evaluate table", [*self.data, *self.multiview, *self.held_out])
        first, second = (recipe() for recipe in RECIPES[self.recipe])
        plan = Plan(
            self.output,
            self.data,
            self.multiview,
            self.held_out,
            self.most_held_out,
            of_size(shortened(first, self.steps), self.size),
            of_size(shortened(second, self.second_steps), self.size),
            replace(self.refine, hold_out="none"),
            self.hold_out,
            self.resolution,
            self.head,
            self.phase1,
        )
        command = " ".join(["spatialavatar", *sys.argv[1:]])
        contents = run_table(int(self.number), plan, only=self.rows, command=command, progress=Rich())
        say((self.output / f"table{self.number}.md").read_text(encoding="utf-8"))
        say(f"Numbers:  {self.output / f'table{self.number}.json'}")
        say(f"Look at:  {self.output / f'table{self.number}.png'}")
        return None if any("metrics" in row for row in contents["rows"]) else 1
