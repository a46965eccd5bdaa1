"""`spatialavatar`: reads the command and its options, and runs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Union

import tyro
from tyro.conf import FlagCreatePairsOff, OmitSubcommandPrefixes, subcommand

import spatialavatar
from spatialavatar.cli.create import Create
from spatialavatar.cli.demo import Demo
from spatialavatar.cli.doctor import Doctor
from spatialavatar.cli.info import Info
from spatialavatar.cli.refine import Refine
from spatialavatar.cli.render import Render
from spatialavatar.cli.run import run
from spatialavatar.cli.track import Track

DESCRIPTION = """Animatable 3D heads from photos or a short video, on a plain CPU.

Start with:

    spatialavatar demo                                   an avatar from a portrait that is at hand
    spatialavatar create me.mp4                          your own: a video, or 1 to 4 photos
    spatialavatar render me.avatar -o me.mp4             turn it, and let it make faces
    spatialavatar render me.avatar --drive you.mp4 -o out.mp4

`spatialavatar COMMAND --help` explains each command. If something does not work: spatialavatar doctor"""

Command = Union[  # noqa: UP007 (tyro reads the annotations of a Union)
    Annotated[Create, subcommand("create", description="Make an avatar from a video or photos.")],
    Annotated[Render, subcommand("render", description="Render an avatar: turn it, or drive it with a video.")],
    Annotated[Track, subcommand("track", description="Find head, camera and matte in every frame.")],
    Annotated[Refine, subcommand("refine", description="Sharpen an avatar on its subject's tracked frames.")],
    Annotated[Info, subcommand("info", description="Show what an avatar or a motion file holds.")],
    Annotated[Doctor, subcommand("doctor", description="Check that everything is there and works.")],
    Annotated[Demo, subcommand("demo", description="Make and render an avatar from a portrait that is at hand.")],
]


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
    if not given:
        given = ["--help"]
    try:
        command = tyro.cli(
            Command,  # type: ignore[arg-type]
            args=given,
            prog="spatialavatar",
            description=DESCRIPTION,
            config=(FlagCreatePairsOff, OmitSubcommandPrefixes),
        )
    except SystemExit as done:
        return int(done.code or 0)
    return run(command)
