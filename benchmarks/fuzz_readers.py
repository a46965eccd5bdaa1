"""Feed every reader of files with damaged ones: no traceback, no signal, no memory or time beyond a bound, no NaN.

    python benchmarks/fuzz_readers.py --seconds 60                  # a minute for each reader (make fuzz-readers)
    python benchmarks/fuzz_readers.py --seconds 600 --count 100000 --reader pickle
    python benchmarks/fuzz_readers.py --list

A damaged file is a bit, a byte, a cut or a splice of a small valid one, or a change of its structure that gets past the
first checks: JSON values, headers of safetensors and npy, members of archives, instructions of pickles, fields of tars.
Each is read in a child process that may reserve 768 MB and take 10 seconds. Inputs with faults are saved in
build/fuzz-readers; the same seed makes the same inputs. It needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

# One thread: the children are forked, and threads' stacks would count as memory.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fuzzing.outcome import OUTCOMES
from benchmarks.fuzzing.readers import READERS
from benchmarks.fuzzing.run import fuzz


def main() -> int:
    """Fuzz, print a table, and return 1 where there was any fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each reader")
    parser.add_argument("--count", type=int, help="inputs for each reader, at most")
    parser.add_argument("--reader", action="append", choices=sorted(READERS), help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--output", type=Path, default=Path("build/fuzz-readers"), help="where inputs with faults go")
    parser.add_argument("--json", type=Path, help="write the counts there")
    parser.add_argument("--list", action="store_true", help="name the readers")
    options = parser.parse_args()
    if options.list:
        print("\n".join(READERS))
        return 0
    if not sys.platform.startswith("linux"):
        print("This needs Linux: elsewhere a process cannot be kept to a limit of memory.", file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    print(f"{'reader':18}{'inputs':>9}{'a second':>10}" + "".join(f"{outcome:>17}" for outcome in OUTCOMES), flush=True)
    faults, table = 0, {}
    for name in options.reader or READERS:
        tally = fuzz(READERS[name], options.seconds, options.count, options.seed, options.output)
        total = sum(tally.counts.values())
        columns = "".join(f"{tally.counts[outcome]:>17,}" for outcome in OUTCOMES)
        print(f"{name:18}{total:>9,}{total / max(tally.seconds, 1e-9):>10.0f}{columns}", flush=True)
        for fault, what in tally.examples.items():
            print(f"--- {name}, first of {fault}: {what}", flush=True)
        faults += tally.faults
        table[name] = {"inputs": total, "seconds": round(tally.seconds, 1), **tally.counts}
    if options.json is not None:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
