"""What is imported is declared, with lower bounds that can be installed."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import spatialavatar
from tools.lowest_versions import lowest, requirements

SOURCE = Path(spatialavatar.__file__).parent
# Modules whose distribution is called otherwise.
DISTRIBUTIONS = {
    "PIL": "Pillow",
    "cv2": "opencv-contrib-python-headless",
    "pillow_heif": "pillow-heif",
    "skimage": "scikit-image",
}
EXTRAS = ("cuda", "train", "paper", "eval", "cluster", "heic", "web")


def third_party(path: Path) -> set[str]:
    """Top names of everything that a file imports from other distributions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            found.add(node.module)
    tops = {name.split(".")[0] for name in found}
    return tops - set(sys.stdlib_module_names) - {"spatialavatar"}


def test_every_import_is_declared() -> None:
    declared = {
        re.match(r"[\w-]+", item)[0].lower()  # type: ignore[index]
        for item in requirements(EXTRAS)
    }
    imported = {name: path for path in sorted(SOURCE.rglob("*.py")) for name in third_party(path)}
    assert {"cv2", "flatbuffers", "av", "torch"} <= set(imported)
    missing = {n: str(p) for n, p in imported.items() if DISTRIBUTIONS.get(n, n).lower() not in declared}
    assert not missing


def test_every_dependency_has_a_lower_bound() -> None:
    lines = lowest(requirements(EXTRAS))
    assert all(re.fullmatch(r"[\w.\[\]-]+==[\w.]+(;.*)?", line) for line in lines)


@pytest.mark.parametrize(
    "requirement,line",
    [
        ("numpy>=1.26.0", "numpy==1.26.0"),
        ("ray[data]>=2.30", "ray==2.30"),
        ("mediapipe==0.10.14; python_version < '3.13'", "mediapipe==0.10.14; python_version < '3.13'"),
        ("a-b >= 1.2, < 3 ; sys_platform == 'win32'", "a-b==1.2; sys_platform == 'win32'"),
    ],
)
def test_lowest_versions(requirement: str, line: str) -> None:
    assert lowest([requirement]) == [line]


@pytest.mark.parametrize("requirement", ["numpy", "numpy<2"])
def test_a_dependency_without_a_lower_bound_is_refused(requirement: str) -> None:
    with pytest.raises(ValueError, match="no lower bound"):
        lowest([requirement])


def test_an_unknown_extra_is_refused() -> None:
    with pytest.raises(ValueError, match="no extra"):
        requirements(["nothing"])
