"""What the documentation promises is there: links, commands, names of the package."""

import re
import shlex
from pathlib import Path

import pytest

import spatialavatar
from spatialavatar.cli.main import DESCRIPTION, _parse
from tests.tools import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/site/*.md")])


def commands() -> list[str]:
    """Every `spatialavatar ...` line in the pages and in the program's own help."""
    found = []
    for text in [*(page.read_text("utf-8") for page in PAGES), DESCRIPTION]:
        found += [
            line.strip() for line in re.findall(r"^ *(?:\.venv/bin/)?(spatialavatar [a-z].*)$", text, re.MULTILINE)
        ]
    return sorted({re.split(r"\s+#|\s{2,}|\s&&\s", line)[0] for line in found})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood(command: str) -> None:
    assert _parse(shlex.split(command.replace("WHAT", "show"))[1:]) is not None


def test_there_are_commands() -> None:
    assert len(commands()) > 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_package_exist(page: Path) -> None:
    for name in set(re.findall(r"\bsa\.(\w+)\(", page.read_text("utf-8"))):
        assert name in spatialavatar.__all__, f"{page.name} uses sa.{name}"


def test_the_reference_has_every_name_that_is_offered() -> None:
    text = (ROOT / "docs" / "site" / "reference.md").read_text("utf-8")
    shown = set(re.findall(r"^\.\. auto(?:class|function):: (\S+)$", text, re.MULTILINE))
    offered = [getattr(spatialavatar, name) for name in spatialavatar.__all__]
    assert shown == {f"{item.__module__}.{item.__qualname__}" for item in offered}
