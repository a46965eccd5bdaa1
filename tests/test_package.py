"""What the package offers at its top."""

import json
import re
import subprocess
import sys

import pytest

import spatialavatar
from tests.tools import ROOT


@pytest.mark.parametrize("name", spatialavatar.__all__)
def test_everything_offered_is_there(name: str) -> None:
    assert callable(getattr(spatialavatar, name))


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import spatialavatar, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'creat_avatar'"):
        _ = spatialavatar.creat_avatar


def test_the_version_stands_in_one_place() -> None:
    """The build reads it from the package; nothing else states one that could differ."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert re.search(r'^dynamic = \["version"\]', project, re.MULTILINE)
    assert not re.search(r"^version = ", project, re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", spatialavatar.__version__)
    assert "version" not in json.loads((ROOT / "web" / "package.json").read_text("utf-8"))
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)


def test_the_changelog_has_a_place_for_what_is_new() -> None:
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert sections and sections[0] == "Unreleased" and len(set(sections)) == len(sections)
