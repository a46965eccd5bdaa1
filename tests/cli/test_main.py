"""The command line as a whole: help, unknown things, and how commands end."""

import errno
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from spatialavatar.cli.main import COMMANDS, main
from spatialavatar.cli.run import BAD_INPUT, BUG, OK, STOPPED, run
from spatialavatar.errors import UserError


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@dataclass(frozen=True)
class Failing:
    """A command that ends with an exception."""

    error: BaseException | None = None
    verbose: bool = False

    def run(self) -> int | None:
        if self.error is not None:
            raise self.error
        return None


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (None, OK, ""),
        (
            UserError("it is broken.", where="me.mp4", hint="Mend it."),
            BAD_INPUT,
            "error: me.mp4: it is broken.\n  Mend it.",
        ),
        (UserError("[bold] is no markup here"), BAD_INPUT, "error: [bold] is no markup here"),
        (KeyboardInterrupt(), STOPPED, "stopped; nothing half-written"),
        (MemoryError(), BAD_INPUT, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), BAD_INPUT, "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device"), BAD_INPUT, "no disk space is left"),
        (
            PermissionError(errno.EACCES, "Permission denied", "out.mp4"),
            BAD_INPUT,
            "error: out.mp4: Permission denied.",
        ),
    ],
)
def test_how_a_command_ends(
    error: BaseException | None, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Failing(error)) == code
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), OSError("a bug")])
def test_a_bug_shows_where_it_is(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Failing(error)) == BUG
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "a bug" in shown and "this is a bug in SpatialAvatar" in shown


def test_verbose_shows_where_an_error_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Failing(UserError("it is broken."), verbose=True)) == BAD_INPUT
    assert "Traceback" in capsys.readouterr().err


def test_help_names_every_command_and_how_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == OK
    shown = capsys.readouterr().out
    for name, (_, summary) in COMMANDS.items():
        assert re.search(rf"• {name} +{re.escape(summary)}", shown), name
    assert "spatialavatar create me.mp4" in shown and "spatialavatar doctor" in shown


def test_no_arguments_are_a_call_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == OK
    assert "usage: spatialavatar" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == OK
    assert re.fullmatch(r"spatialavatar \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_gives_an_example_and_explains_every_option(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == OK
    shown = capsys.readouterr().out
    assert f"usage: spatialavatar {name}" in shown
    assert re.search(rf"For example:\n +spatialavatar {name}", shown)
    for option in re.findall(r"│ (--[\w-]+)(.*?)(?=│ (?:-|$)|╰)", shown, re.DOTALL):
        explained = re.sub(r"[│\n]|\(default: [^)]*\)", " ", option[1]).split()
        assert len(explained) >= 2, f"{option[0]} is not explained"


@pytest.mark.parametrize("arguments", [["trak"], ["create"], ["create", "--sise", "3"], ["render", "a", "--size", "x"]])
def test_what_cannot_be_understood_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == BAD_INPUT
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out


def test_help_is_there_at_once() -> None:
    """Torch and mediapipe take seconds to import; whoever asks for help must not wait for them."""
    code = (
        "import sys; from spatialavatar.cli.main import main; main(['--help']); "
        "sys.exit(', '.join({'torch', 'mediapipe', 'numpy', 'av'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_is_no_error() -> None:
    code = "import sys; from spatialavatar.cli.main import main; sys.exit(main(['doctor', '--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.wait(timeout=60)
    assert "Traceback" not in errors


@pytest.mark.skipif(not hasattr(os, "kill"), reason="this system has no signals")
def test_terminate_cleans_up_like_ctrl_c(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
from spatialavatar.cli.run import run
from spatialavatar.files import write_atomically

class Command:
    verbose = False
    def run(self):
        with write_atomically(Path({str(tmp_path)!r}) / "me.avatar") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)
            temporary.write_text("all")

sys.exit(run(Command()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == STOPPED and "stopped" in done.stderr
    assert list(tmp_path.iterdir()) == []
