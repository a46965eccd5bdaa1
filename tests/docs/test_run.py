"""README and docs are run: every command and every Python snippet, page by page, as a reader would."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from tests.docs import inputs, plan
from tests.docs.blocks import PAGES, Block, blocks, of_page
from tests.docs.running import Session, session

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="this system has no bash: README and docs are run elsewhere"),
]


def is_experiment(block: Block, line: str) -> bool:
    return block.page in plan.EXPERIMENTS or line.startswith(plan.EXPERIMENT_PREFIXES.get(block.page, ("\n",)))


def run(block: Block, running: Session) -> None:
    """One block, by the tables of `plan`."""
    if block.language == "python":
        text = plan.BEFORE.get(block.page, "") + block.text
        for written, shorter in plan.PYTHON_SHORTER.items():
            text = text.replace(written, shorter)
        running.python(text)
        return
    for line in block.lines:
        if line not in plan.LEFT_OUT and not is_experiment(block, line):
            running.command(plan.SHORTER.get(line, line))


def digests(folder: Path) -> dict[str, str]:
    """The bytes of what the user recorded."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in inputs.RECORDINGS}


def test_the_readme_s_own_commands_leave_the_recordings_alone(tmp_path: Path) -> None:
    """One folder, one command after the other as they stand there, then its Python: what was filmed stays as it is."""
    inputs.recordings(tmp_path)
    inputs.tracked(tmp_path / "theirs", 4)
    before = digests(tmp_path)
    with session(tmp_path) as running:
        for block in of_page(PAGES[0]):
            for line in block.lines if block.language == "bash" else [block.text]:
                run(Block(block.page, block.language, (line,)), running)
                assert digests(tmp_path) == before, f"a recording was changed by: {line}"
            running.end_servers()
    for name in ("me.avatar", "front.avatar", "me.render.mp4", "out.mp4", "me.png", "me.spz", "better.avatar"):
        assert (tmp_path / name).is_file(), name


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.stem)
def test_a_page_is_run(page: Path, tmp_path: Path) -> None:
    found = [block for block in of_page(page) if block.page not in plan.EXPERIMENTS]
    if not found:
        return  # prose, or a record of experiments
    inputs.recordings(tmp_path)
    inputs.made(tmp_path)
    inputs.others(tmp_path)
    before = digests(tmp_path)
    with session(tmp_path) as running:
        for block in found:
            if any("--predictions theirs" in line for line in block.lines):
                inputs.predictions(tmp_path)
            run(block, running)
            if block.language == "bash" and page.name != "live.md":
                running.end_servers()  # a live page's snippets drive its server
    assert digests(tmp_path) == before


def test_the_tables_name_what_is_written() -> None:
    """Nothing in them that no page shows any more."""
    lines = {line for block in blocks() if block.language == "bash" for line in block.lines}
    gone = sorted((plan.SHORTER.keys() | plan.LEFT_OUT.keys()) - lines)
    assert not gone, gone
    python = "\n".join(block.text for block in blocks() if block.language == "python")
    assert all(written in python for written in plan.PYTHON_SHORTER)
    names = {page.name for page in PAGES}
    assert {*plan.EXPERIMENTS, *plan.EXPERIMENT_PREFIXES, *plan.BEFORE} <= names
    assert not plan.SHORTER.keys() & plan.LEFT_OUT.keys()


def test_most_of_what_is_written_is_run() -> None:
    """So that a broken pattern for blocks cannot pass: 60 commands and 12 snippets were run when this was written."""
    commands = [
        line
        for block in blocks()
        if block.language == "bash"
        for line in block.lines
        if line not in plan.LEFT_OUT and not is_experiment(block, line)
    ]
    assert len(commands) > 45 and sum(block.language == "python" for block in blocks()) > 10
