"""`spatialavatar bench`: how fast this machine is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from spatialavatar.cli.report import Stopwatch, report_path, write_report
from spatialavatar.cli.run import Common, say
from spatialavatar.errors import UserError
from spatialavatar.products import check_output


@dataclass(frozen=True, kw_only=True)
class Bench(Common):
    """Measure this machine in at most two minutes: posing and drawing, the rasteriser, a refinement step.

    For example:
        spatialavatar bench
        spatialavatar bench --sizes 512 --threads 4
    """

    sizes: Annotated[tuple[int, ...], arg(metavar="PIXELS ...", help_behavior_hint="")] = (256, 512)
    """Sides of the pictures."""
    threads: Annotated[tuple[int, ...], arg(metavar="N ...", help_behavior_hint="")] = ()
    """Threads of the kernels; by default one, and as many as there are."""
    seconds: float = 60.0
    """About how long to measure; making ready comes on top of it."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("bench")
    """The numbers go to a file of this name that ends in .report.json."""

    def run(self) -> int | None:
        if not all(16 <= size <= 4096 for size in self.sizes) or not self.sizes:
            raise UserError(f"--sizes are {self.sizes}; expected 16 to 4096 pixels.")
        if not all(1 <= count <= 256 for count in self.threads):
            raise UserError(f"--threads are {self.threads}; expected 1 to 256.")
        if not 0 < self.seconds <= 3600:
            raise UserError(f"--seconds is {self.seconds}; expected up to 3600.")
        check_output(report_path(self.output), [])
        from rich.console import Console
        from rich.table import Table

        from spatialavatar.bench import as_report, machine, measure, phases_of_step

        watch, known = Stopwatch(), machine()
        counts = self.threads or tuple(sorted({1, int(known["threads"])}))
        share = self.seconds / (len(self.sizes) * len(counts) * 7 + 1)
        say(f"{known['processor']}, {known['threads']} threads, kernels: {known['instruction_set']}")
        rows = [row for size in self.sizes for count in counts for row in measure(size, count, share)]
        table = Table("ms", "size", "threads", "median", "p95", "least", "processor", "slower", box=None)
        for row in rows:
            timing = row.timing
            numbers = [f"{value:.1f}" for value in (timing.median, timing.p95, timing.minimum, timing.processor)]
            against = "" if row.ratio is None else f"{row.ratio:.1f} x {row.twin}"
            table.add_row(row.name, str(row.size), str(row.threads), *numbers, against)
        Console().print(table)
        phases = phases_of_step(self.sizes[-1], counts[-1], share)
        say(f"Of a refinement step ({self.sizes[-1]} x {self.sizes[-1]}, {counts[-1]} threads), ms:")
        say("  " + ", ".join(f"{name} {value:.1f}" for name, value in phases.items()))
        report = write_report(
            self.output,
            "bench",
            self,
            {"machine": known, "rows": as_report(rows), "phases": phases, "seconds": watch.seconds},
        )
        say(f"Numbers:  {report}  ({watch.seconds:.0f} s)")
        return None
