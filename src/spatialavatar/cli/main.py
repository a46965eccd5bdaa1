"""`spatialavatar`: reads the command and its options, and runs it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Union

import tyro
from tyro.conf import FlagCreatePairsOff, subcommand

import spatialavatar
from spatialavatar.cli.bench import Bench
from spatialavatar.cli.create import Create
from spatialavatar.cli.demo import Demo
from spatialavatar.cli.doctor import Doctor
from spatialavatar.cli.evaluate import Evaluate, EvaluateCross, EvaluateSelf
from spatialavatar.cli.evaluate_table import EvaluateTable
from spatialavatar.cli.export import Export
from spatialavatar.cli.importing import Import
from spatialavatar.cli.info import Info
from spatialavatar.cli.live import Live
from spatialavatar.cli.prepare import Prepare
from spatialavatar.cli.refine import Refine
from spatialavatar.cli.render import Render
from spatialavatar.cli.run import BAD_INPUT, leave_closed_pipe, run, warn
from spatialavatar.cli.synth import Synth
from spatialavatar.cli.track import Track
from spatialavatar.cli.train import Train
from spatialavatar.cli.view import View

DESCRIPTION = """Animatable 3D heads from photos or a short video, on a plain CPU.

Start with:
    spatialavatar demo                       an avatar from a portrait that is at hand
    spatialavatar create me.mp4              your own: a video, or 1 to 4 photos
    spatialavatar render me.avatar           turn it, and let it make faces
    spatialavatar render me.avatar --drive you.mp4 -o out.mp4

`spatialavatar COMMAND --help` explains each command.
If something does not work: spatialavatar doctor"""

COMMANDS: dict[str, tuple[type[Any], str]] = {
    "create": (Create, "Make an avatar from a video or photos."),
    "view": (View, "Look at an avatar in the browser, and move it."),
    "render": (Render, "Render an avatar: turn it, or drive it with a video."),
    "track": (Track, "Find head, camera and matte in every frame."),
    "refine": (Refine, "Sharpen an avatar on its subject's tracked frames."),
    "import": (Import, "Read what another tracker made: VHAP, INSTA, IMavatar, GAGAvatar ..."),
    "prepare": (Prepare, "Cut, track and pack the clips of a set, by many processes."),
    "evaluate": (Evaluate, "Score avatars, or anybody's pictures (evaluate self, cross, table)."),
    "train": (Train, "Train the generator that makes avatars in one pass, in two phases."),
    "synth": (Synth, "Make sets of made-up people to train on."),
    "live": (Live, "Drive the avatar on the page: with a take, or live from an iPhone."),
    "export": (Export, "Take an avatar to other programs: ply, spz, glTF, a rig, html."),
    "info": (Info, "Show what an avatar or a motion file holds."),
    "doctor": (Doctor, "Check that everything is there and works."),
    "bench": (Bench, "Measure how fast this machine is, in two minutes."),
    "demo": (Demo, "Make and render an avatar from a portrait that is at hand."),
}

# Commands whose first word has commands of its own; without one of these the first word's own is meant.
SECOND_WORDS: dict[str, dict[str, type[Any]]] = {
    "evaluate": {"self": EvaluateSelf, "cross": EvaluateCross, "table": EvaluateTable},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; those of the process if None.

    Returns:
        The exit code: 0 done, 1 a bug or something not in order, 2 wrong input, 130 stopped.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        print(f"spatialavatar {spatialavatar.__version__}")
        return 0
    if any("\0" in argument for argument in given):
        # No shell can pass one, but a program can, and no path function takes it.
        warn("error: an argument holds a NUL character.")
        return BAD_INPUT
    try:
        command = _parse(given or ["--help"])
        sys.stdout.flush()
    except SystemExit as done:
        return int(done.code or 0)
    except BrokenPipeError:
        return leave_closed_pipe()
    return run(command)


def _parse(given: list[str]) -> Any:
    """The command's dataclass, filled in; SystemExit after help or a message on what is wrong."""
    if given[0] in COMMANDS:
        kind, _ = COMMANDS[given[0]]
        words = 1
        if len(given) > 1 and given[1] in SECOND_WORDS.get(given[0], {}):
            kind, words = SECOND_WORDS[given[0]][given[1]], 2
        # Said explicitly, because tyro's own reader of docstrings drops the sections with examples.
        description = inspect.cleandoc(kind.__doc__ or "")
        prog = " ".join(["spatialavatar", *given[:words]])
        return tyro.cli(kind, args=given[words:], prog=prog, description=description, config=(FlagCreatePairsOff,))
    # Only help and messages about unknown commands come from this parser; one line each tells them apart.
    commands: Any = Union[  # noqa: UP007 (tyro reads the annotations of a Union)
        tuple(Annotated[kind, subcommand(name, description=text)] for name, (kind, text) in COMMANDS.items())
    ]
    return tyro.cli(commands, args=given, prog="spatialavatar", description=DESCRIPTION)
