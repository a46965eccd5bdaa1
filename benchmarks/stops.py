"""Stops at random moments: Ctrl-C, `kill` and `kill -9` of create, refine and train, and what is left and resumed.

    python benchmarks/stops.py                                                  # all of it, 100 times each: hours
    python benchmarks/stops.py --command refine --signal kill --times 100

Small subjects are made first. Each command runs once to its end; then it is stopped again and again at a moment that is
drawn over the time it took (one in three of them in its last quarter), its files are looked at, and it is resumed,
every third time with another stop. A benchmark that is stopped goes on with the trials it lacks. The table is printed
and kept in benchmarks/results/stops.json.

Most runs are forked off a process that has imported everything, so that the moments fall into work and not into
imports; one in twenty is started anew as the shell does it (--anew).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results" / "stops.json"
SIGNALS = {"int": signal.SIGINT, "term": signal.SIGTERM, "kill": signal.SIGKILL}
STOPPED = 130
LATE_SHARE, LATE_FROM = 1 / 3, 0.75
"""This share of the moments falls into what comes after this part of a run: scores, pictures, files."""
AGAIN_EVERY = 3
"""Of the resumed runs every third is stopped, too."""
LONGEST = 600.0
"""Seconds after which a run counts as hanging."""

# The generator of the tests' trainings: seconds instead of hours.
SMALL = [
    *("--config.generator.image-size", "64", "--config.generator.encoder-size", "64"),
    *("--config.generator.canvas-resolution", "24", "--config.layout-resolution", "48"),
    *("--config.generator.unet-widths", "8", "12", "--config.generator.encoder-widths", "8", "8", "8"),
    *("--config.generator.feature-channels", "4", "--config.generator.code-channels", "8"),
    *("--config.image.size", "48", "--config.steps", "8", "--config.validate-every", "4"),
    *("--config.preview-every", "4", "--config.checkpoint-every", "3", "--config.log-every", "1"),
]
REFINE = ["refine", "grey.avatar", "me.tracked", "-o", "better.avatar"]
COMMANDS: dict[str, list[str]] = {
    "create": ["create", "few.tracked", "-o", "made.avatar", "--fast", "--iterations", "60"],
    # From a photo, with tracking, which is replaced: only what is left is looked at here, too.
    "create_photo": ["create", "face.png", "-o", "made.avatar", "--fast", "--iterations", "40", "--overwrite"],
    "refine": [*REFINE, "--iterations", "300", "--hold-out", "tail"],
    "refine_motion": [*REFINE, "--iterations", "60", "--refine-motion"],
    "train": [
        "train",
        "compact-phase1",
        "--data",
        "people",
        "--held-out",
        "people",
        "--most-held-out",
        "1",
        "-o",
        "run",
        *SMALL,
    ],
}
PRODUCTS: dict[str, set[str]] = {
    "create": {"made.avatar", "made.preview.png", "made.report.json"},
    "create_photo": {"made.avatar", "made.preview.png", "made.report.json", "made.tracked"},
    "refine": {"better.avatar", "better.preview.png", "better.report.json"},
    "refine_motion": {"better.avatar", "better.preview.png", "better.report.json", "better.motion.safetensors"},
    "train": {"run"},
}


@dataclass(frozen=True)
class Options:
    """What to stop, and how often."""

    command: tuple[Literal["create", "create_photo", "refine", "refine_motion", "train"], ...] = (
        "create",
        "refine",
        "train",
    )
    """Which commands. create_photo tracks a photo again, over an earlier tracking; refine_motion has moving motion."""
    signal: tuple[Literal["int", "term", "kill"], ...] = ("int", "term", "kill")
    """Ctrl-C, `kill`, `kill -9`."""
    times: int = 100
    """Trials of each."""
    seed: int = 0
    """Of the moments."""
    anew: float = 0.05
    """Share of the runs that are started as the shell does, imports and all."""
    work: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = ROOT / "build" / "stops"
    """Where subjects, runs and trials lie."""
    minutes: float = math.inf
    """End after this long; the next call goes on."""


@dataclass
class Trial:
    """One run that was stopped, and its resumption.

    Attributes:
        number: Of the trial.
        after: Seconds from its start to the signal.
        share: The same as a part of the whole run's time.
        anew: Started as the shell does.
        stage: What it had got to.
        code: How it ended; negative by a signal.
        left: Bytes in hidden files and folders after it ended.
        stops: How often it was stopped.
        faults: What was not as it must be; empty where all was.
    """

    number: int
    after: float
    share: float
    anew: bool
    stage: str = ""
    code: int = 0
    left: int = 0
    stops: int = 1
    faults: list[str] = field(default_factory=list)


# ---------------------------------------------------------------------- subjects


def make_subjects(folder: Path) -> None:
    """Everything the commands read."""
    from PIL import Image
    from skimage import data

    from spatialavatar.avatar.file import save_avatar
    from spatialavatar.sequence.folder import write_sequence
    from tests.synthetic import greyed, subject
    from tests.train.small import painted

    Image.fromarray(data.astronaut()).save(folder / "face.png")
    made = subject(frames=50, size=64, resolution=24)
    save_avatar(greyed(made.avatar), folder / "grey.avatar")
    write_sequence(made.sequence, folder / "me.tracked")
    write_sequence(made.sequence.select([0, 10, 20, 30]), folder / "few.tracked")
    (folder / "people").mkdir()
    for seed in (0, 1):
        write_sequence(painted(seed, 9).cameras[0], folder / "people" / f"p{seed}.tracked")


# ---------------------------------------------------------------------- running


def preloaded() -> None:
    """Import what the commands import, so that forked runs begin with their work."""
    import torch

    import spatialavatar.cli.main
    import spatialavatar.create
    import spatialavatar.drive.motion_file
    import spatialavatar.refine.preview
    import spatialavatar.train.run  # noqa: F401

    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # its first call imports more than torch itself


class Running:
    """A command in a process of its own, its output in a file."""

    def __init__(self, arguments: Sequence[str], folder: Path, anew: bool):
        self.log = folder.parent / f"{folder.name}.log"
        environment = {"OMP_NUM_THREADS": "1", "COLUMNS": "300"}
        with self.log.open("wb") as log:
            if anew or not hasattr(os, "fork"):
                code = "import sys; from spatialavatar.cli import main; sys.exit(main())"
                self.pid = subprocess.Popen(
                    [sys.executable, "-c", code, *arguments],
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **environment},
                ).pid
            else:
                self.pid = os.fork()
                if self.pid == 0:
                    self._child(arguments, folder, log.fileno(), environment)

    def _child(self, arguments: Sequence[str], folder: Path, log: int, environment: dict[str, str]) -> None:
        """What the console script does, and how Python ends after it."""
        code = 1
        try:
            os.chdir(folder)
            os.environ.update(environment)
            os.dup2(log, 1)
            os.dup2(log, 2)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            from spatialavatar.cli.main import main

            code = main(list(arguments))
        except KeyboardInterrupt:
            traceback.print_exc()
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float) -> int | None:
        """The exit code (negative: a signal's number), or None where it still runs after so long."""
        until = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            left = until - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(0.003, left))

    def said(self) -> str:
        return self.log.read_text(errors="replace")


def end_of(run: Running) -> int:
    """How it ends; one that hangs is killed and counts as -SIGKILL."""
    code = run.wait(LONGEST)
    if code is None:
        os.kill(run.pid, signal.SIGKILL)
        run.wait(10)
        return -signal.SIGKILL
    return code


# ---------------------------------------------------------------------- looking


def hidden_in(folder: Path) -> list[Path]:
    """Hidden files and folders anywhere, the topmost of each; not the mark of a folder of ours, which stays."""
    from spatialavatar.products import FOLDER_FILE

    found = []
    for place, inside, names in os.walk(folder):
        found += [Path(place, name) for name in (*inside, *names) if name.startswith(".") and name != FOLDER_FILE]
        inside[:] = [name for name in inside if not name.startswith(".")]
    return found


def bytes_in(paths: Sequence[Path]) -> int:
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return sum(file.stat().st_size for file in files)


def not_whole(folder: Path) -> list[str]:
    """Files with their own names that cannot be read to their end, and what is wrong with them."""
    from PIL import Image
    from safetensors import safe_open

    from spatialavatar.sequence.folder import folder_problems

    faults = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if any(part.startswith(".") for part in inside) or not path.is_file() or "tensorboard" in inside:
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".jsonl":  # lines are added to it; reading leaves out one that was cut off
                lines = path.read_text().splitlines()
                for line in lines[:-1]:
                    json.loads(line)
            elif path.suffix in (".png", ".jpg"):
                with Image.open(path) as picture:
                    picture.load()
            elif path.suffix in (".safetensors", ".avatar"):
                with safe_open(path, framework="pt") as file:
                    for key in file.keys():
                        file.get_tensor(key)
            elif path.suffix not in (".mp4", ".md", ".csv"):
                faults.append(f"{path.name} is of no kind we write")
        except Exception as error:
            faults.append(f"{'/'.join(inside)} is not whole: {type(error).__name__} {error}")
    for tracked in folder.rglob("*.tracked"):
        if not any(part.startswith(".") for part in tracked.relative_to(folder).parts):
            faults += [f"{tracked.name}: {problem.what}" for problem in folder_problems(tracked)]
    return faults


def contents(command: str, folder: Path) -> dict[str, bytes]:
    """What must be equal to the last bit: every tensor, and what headers and logs say except times."""
    from safetensors import safe_open

    names = {
        "create": ["made.avatar"],
        "create_photo": ["made.avatar", "made.tracked/motion.safetensors"],
        "refine": ["better.avatar"],
        "refine_motion": ["better.avatar", "better.motion.safetensors"],
        "train": ["run/generator.safetensors", "run/best.safetensors", "run/checkpoint.safetensors"],
    }[command]
    found: dict[str, bytes] = {}
    for name in names:
        with safe_open(folder / name, framework="pt") as file:
            metadata = file.metadata() or {}
            for key in file.keys():
                found[f"{name}: {key}"] = file.get_tensor(key).contiguous().numpy().tobytes()
        for key, text in metadata.items():
            with contextlib.suppress(ValueError):
                text = json.dumps(without_times(json.loads(text)), sort_keys=True)
            found[f"{name}: header {key}"] = text.encode()
    if command == "train":
        for name in ("losses.jsonl", "scores.jsonl"):
            lines = [without_times(json.loads(line)) for line in (folder / "run" / name).read_text().splitlines()]
            found[name] = json.dumps(lines).encode()
    return found


TIMES = {"created", "seconds", "begun", "threads"}
"""Keys of headers and logs that differ between two runs of one command: when it was made, and how long it took."""


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(inside) for key, inside in value.items() if key not in TIMES}
    return [without_times(inside) for inside in value] if isinstance(value, list) else value


def stage_of(command: str, folder: Path, said: str) -> str:
    """What a run had got to, by its files and lines."""
    if command == "train":
        run = folder / "run"
        for name, stage in (("generator", "done"), ("checkpoint", "training, with a checkpoint")):
            if (run / f"{name}.safetensors").exists():
                return stage
        return "training, no checkpoint yet" if (run / "losses.jsonl").exists() else "start"
    stem = "better" if command.startswith("refine") else "made"
    if (folder / f"{stem}.report.json").exists():
        return "done"
    if (folder / f"{stem}.avatar").exists():
        return "avatar written"
    step = re.findall(r"after iteration (\d+)", said)
    total = COMMANDS[command][COMMANDS[command].index("--iterations") + 1]
    if (folder / f"{stem}.checkpoint.safetensors").exists():
        return "scoring, pictures" if step[-1:] == [total] or not step else "refining"
    return "start, tracking" if command == "create_photo" else "start"


# ---------------------------------------------------------------------- one trial


def resumption(command: str, folder: Path) -> list[str]:
    """The command that goes on."""
    if command == "train":
        return ["train", "resume", "run"] if (folder / "run" / "config.json").exists() else COMMANDS["train"]
    without = [word for word in COMMANDS[command] if word != "--overwrite"]
    return [*without, "--resume"]


def one(command: str, name: str, number: int, options: Options, base: Path, took: dict[bool, float]) -> Trial:
    """Stop a run, look, go on, compare."""
    chance = random.Random(f"{options.seed} {command} {name} {number}")
    anew = chance.random() < options.anew
    folder = base / f"{name}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base / "inputs", folder, copy_function=os.link)
    late = chance.random() < LATE_SHARE
    share = chance.uniform(LATE_FROM if late else 0.0, 1.0)
    trial = Trial(number, round(share * took[anew], 3), round(share, 3), anew)
    arguments = COMMANDS[command]
    while True:
        run = Running(arguments, folder, anew)
        code = run.wait(share * took[anew])
        if code is None:
            os.kill(run.pid, SIGNALS[name])
            code = end_of(run)
        said = run.said()
        if trial.stops == 1:
            trial.code, trial.stage = code, stage_of(command, folder, said)
        trial.faults += faults_of_stop(command, name, folder, code, said, anew)
        if name == "kill":
            trial.left = max(trial.left, bytes_in(hidden_in(folder)))
        if trial.stops == 2 or number % AGAIN_EVERY or code == 0:
            break
        arguments, trial.stops, share = resumption(command, folder), 2, chance.uniform(0.0, 1.0)
    left = [path for path in hidden_in(folder) if path.is_dir()]
    if not (code == 0 and is_done(command, folder)):
        run = Running(resumption(command, folder), folder, anew)
        code, said = end_of(run), run.said()
        if code != 0:
            trial.faults.append(f"resumed: ended with {code}: {said[-300:]}")
        trial.faults += [f"left: {path.name} is not named" for path in left if path.name not in said]
    trial.faults += [f"left: {path.relative_to(folder)}" for path in hidden_in(folder)]
    trial.faults += [f"after resuming: {fault}" for fault in not_whole(folder)]
    extra = {path.name for path in folder.iterdir()} - {p.name for p in (base / "inputs").iterdir()} - PRODUCTS[command]
    trial.faults += [f"left: {path}" for path in sorted(extra) if not path.startswith(".")]
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / "run" / "tensorboard")
    try:
        wanted, found = contents(command, base / "whole"), contents(command, folder)
        differing = [key for key in wanted if found.get(key) != wanted[key]] + [
            key for key in found if key not in wanted
        ]
        trial.faults += [f"differs: {key}" for key in differing]
    except Exception as error:
        trial.faults.append(f"cannot be compared: {type(error).__name__} {error}")
    if not trial.faults:
        shutil.rmtree(folder)
        run.log.unlink()
    return trial


def is_done(command: str, folder: Path) -> bool:
    return PRODUCTS[command] <= {path.name for path in folder.iterdir()}


def faults_of_stop(command: str, name: str, folder: Path, code: int, said: str, anew: bool) -> list[str]:
    """What is wrong right after a stop."""
    faults = not_whole(folder)
    number = SIGNALS[name]
    if name == "kill":
        return faults if code in (0, -number) else [*faults, f"killed: ended with {code}"]
    before_or_after = code == -number and ("Stopped" not in said)  # while Python itself starts or ends
    if code not in (0, STOPPED) and not before_or_after:
        faults.append(f"stopped: ended with {code}")
    if ("Traceback" in said and not (before_or_after and anew)) or "this is a bug" in said:
        faults.append(f"stopped: a traceback: {said[-400:]}")
    faults += [f"stopped: left {path.name}" for path in hidden_in(folder)]
    if code == STOPPED and command != "train":
        stem = "better" if command.startswith("refine") else "made"
        kept = (folder / f"{stem}.checkpoint.safetensors").exists()
        if ("nothing is lost" in said or "is kept. Add --resume to go on from" in said) != kept:
            faults.append("stopped: what is said to be kept is not what is there")
    return faults


# ---------------------------------------------------------------------- all of them


def prepare(command: str, options: Options) -> tuple[Path, dict[bool, float]]:
    """Inputs and an uninterrupted run of a command; how long that took, forked and started anew."""
    base = options.work / command
    record = base / "took.json"
    if not record.exists():
        shutil.rmtree(base, ignore_errors=True)
        (base / "inputs").mkdir(parents=True)
        subprocess.run([sys.executable, __file__, "--subjects", str(base / "inputs")], check=True)
        took = {}
        if command == "create_photo":
            first = [word for word in COMMANDS[command] if word != "--overwrite"]
            if end_of(Running(first, base / "inputs", False)):
                raise SystemExit(f"{command} does not run: see {base}")
            for path in (base / "inputs").glob("made.*"):
                if path.suffix != ".tracked":
                    path.unlink()
        for anew in (True, False):
            shutil.rmtree(base / "whole", ignore_errors=True)
            shutil.copytree(base / "inputs", base / "whole")
            began = time.monotonic()
            code = end_of(Running(COMMANDS[command], base / "whole", anew))
            took[anew] = time.monotonic() - began
            if code:
                raise SystemExit(f"{command} does not run: see {base}/whole.log")
        record.write_text(json.dumps([took[False], took[True]]))
    forked, anew_took = json.loads(record.read_text())
    return base, {False: forked, True: anew_took}


def known(path: Path) -> dict[int, Trial]:
    if not path.exists():
        return {}
    trials = [Trial(**json.loads(line)) for line in path.read_text().splitlines()]
    return {trial.number: trial for trial in trials}


def trials_of(command: str, name: str, options: Options, until: float) -> Iterator[Trial]:
    """Trials that are lacking, one after the other."""
    base, took = prepare(command, options)
    path = base / f"{name}.jsonl"
    done = known(path)
    for number in range(options.times):
        if number in done:
            continue
        if time.monotonic() > until:
            return
        trial = one(command, name, number, options, base, took)
        with path.open("a") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
        yield trial


def summary(command: str, name: str, options: Options) -> dict[str, Any] | None:
    base = options.work / command
    trials = list(known(base / f"{name}.jsonl").values())
    if not trials:
        return None
    forked, anew = json.loads((base / "took.json").read_text())
    return {
        "command": command,
        "signal": name,
        "trials": len(trials),
        "stops": sum(trial.stops for trial in trials),
        "seconds_of_a_whole_run": [round(forked, 2), round(anew, 2)],
        "started_anew": sum(trial.anew for trial in trials),
        "exit_codes": dict(sorted(Counter(str(trial.code) for trial in trials).items())),
        "stages": dict(sorted(Counter(trial.stage for trial in trials).items())),
        "most_bytes_left_until_the_next_run": max(trial.left for trial in trials),
        "trials_with_faults": sum(bool(trial.faults) for trial in trials),
        "faults": [f"{trial.number}: {fault}"[:400] for trial in trials for fault in trial.faults],
    }


def main(options: Options) -> None:
    from spatialavatar.files import write_json

    # Where this runs in the background, the shell has it ignore Ctrl-C, and so would the commands.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    preloaded()
    until = time.monotonic() + 60 * options.minutes
    # In turns, so that a benchmark that is stopped has some of each.
    runs = [(c, s, trials_of(c, s, options, until)) for c in options.command for s in options.signal]
    while runs:
        for run in list(runs):
            command, name, trials = run
            trial = next(trials, None)
            if trial is None:
                runs.remove(run)
                continue
            faults = "; ".join(trial.faults)
            print(f"{command} {name} {trial.number}: {trial.stage}, {trial.code}  {faults}", flush=True)
    found = [summary(c, s, options) for c in COMMANDS for s in SIGNALS]
    rows = [row for row in found if row is not None]
    write_json(RESULTS, {"times": sorted(TIMES), "rows": rows})
    print("| command | signal | stopped | of which twice | exit codes | moments | faults |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        codes = ", ".join(f"{code}: {count}" for code, count in row["exit_codes"].items())
        stages = ", ".join(f"{stage}: {count}" for stage, count in row["stages"].items())
        twice = row["stops"] - row["trials"]
        print(f"| {row['command']} | {row['signal']} | {row['trials']} | {twice} | {codes} | {stages} |", end="")
        print(f" {row['trials_with_faults']} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--subjects"]:
        make_subjects(Path(sys.argv[2]))
    else:
        main(tyro.cli(Options, description=__doc__))
