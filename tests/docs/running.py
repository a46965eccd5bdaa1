"""Runs what a page shows, in a folder: commands by bash, servers until they answer, snippets by Python."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.tools import ROOT

PATIENCE = 300
"""Seconds for one command; the longest takes about 30 on two busy cores."""

SERVERS = {
    "spatialavatar view": re.compile(r"Page: +(http://\S+)"),
    "spatialavatar live udp": re.compile(r"(Waiting for Live Link Face)"),
}
"""Commands that run until they are ended, and what they print when they are ready."""

_USUAL_LIVE = "ws://127.0.0.1:8765/live"
_LIVE = re.compile(r"Live: +(ws://\S+)")


def environment() -> dict[str, str]:
    """This process's own, with this Python's programs first, and no browser that opens."""
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([programs, os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "BROWSER": "true", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def _heed_interrupts() -> None:
    """Tests that run in the background of a shell ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Session:
    """One page being run. Servers stay up until the end of a block, as a reader's other terminal would."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.live = _USUAL_LIVE
        self._servers: list[Server] = []

    def command(self, line: str) -> str:
        """Run a command to its end; a server until it answers. Returns its output."""
        for start, ready in SERVERS.items():
            if line.startswith(start):
                server = Server(self._addressed(line), self.folder, ready)
                self._servers.append(server)
                found = _LIVE.search(server.output())
                self.live = found[1] if found else self.live
                return server.output()
        done = subprocess.run(
            ["bash", "-c", self._addressed(line)],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}"
        return done.stdout

    def python(self, text: str) -> None:
        """Run a snippet by itself, from a file: `import` finds nothing that a user would not have."""
        script = self.folder / "snippet.py"
        script.write_text(text.replace(_USUAL_LIVE, self.live), "utf-8")
        try:
            self.command(f"{sys.executable} -W error::DeprecationWarning:__main__ {script.name}")
        finally:
            script.unlink()

    def end_servers(self) -> None:
        """Ctrl-C for each; all must end in order."""
        servers, self._servers = self._servers[::-1], []
        for server in servers:
            server.end()
        self.live = _USUAL_LIVE

    def _addressed(self, line: str) -> str:
        """`spatialavatar live` speaks to the server of this page, whichever port it got."""
        return f"{line} --to {self.live}" if line.startswith("spatialavatar live") else line


class Server:
    """A running program that has said that it is ready."""

    def __init__(self, line: str, folder: Path, ready: re.Pattern[str]):
        self.line = line
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=folder,
            env={**environment(), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_heed_interrupts,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + PATIENCE
        while not (found := ready.search(self.output())) or "Ctrl-C ends it." not in self.output():
            assert self._process.poll() is None and time.monotonic() < end, f"$ {line}\n{self.output()}"
            time.sleep(0.05)
        if found[1].startswith("http"):
            with urllib.request.urlopen(found[1], timeout=30) as page:
                assert b"<title>" in page.read()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            self._lines.append(text)

    def output(self) -> str:
        return "".join(self._lines)

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join(10)
        assert code == 0 and "Traceback" not in self.output(), f"$ {self.line}: {code}\n{self.output()}"


@contextlib.contextmanager
def session(folder: Path) -> Iterator[Session]:
    """A session whose servers end with it."""
    running = Session(folder)
    try:
        yield running
    finally:
        running.end_servers()


def link_repository(folder: Path) -> None:
    """What commands of the docs take from the repository they stand in."""
    for name in ("benchmarks", "tools"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
