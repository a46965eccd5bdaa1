"""The lowest versions that pyproject.toml allows, as constraints for pip.

    python tools/lowest_versions.py > lowest.txt
    pip install --constraint lowest.txt .

One job of the continuous integration installs these, another the newest: so the bounds stay true. Extras are named:
`python tools/lowest_versions.py web eval`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10; pip brings the same reader along.
    from pip._vendor import tomli as tomllib  # type: ignore[import-not-found, no-redef]

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def lowest(requirements: Sequence[str]) -> list[str]:
    """`name>=1.2,<3; marker` -> `name==1.2; marker`.

    Raises:
        ValueError: A requirement has no lower bound.
    """
    lines = []
    for requirement in requirements:
        found = re.fullmatch(
            r"\s*(?P<name>[\w.-]+)(\[[\w,-]+\])?\s*[>=]=\s*(?P<version>[\w.]+)[^;]*(?P<marker>;.*)?", requirement
        )
        if found is None:
            raise ValueError(f"{requirement!r} has no lower bound: write name>=version")
        lines.append(f"{found['name']}=={found['version']}{found['marker'] or ''}")
    return lines


def requirements(extras: Sequence[str]) -> list[str]:
    """What pyproject.toml asks for, with some extras."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    unknown = set(extras) - set(project["optional-dependencies"])
    if unknown:
        raise ValueError(f"pyproject.toml has no extra {sorted(unknown)}")
    return project["dependencies"] + [item for extra in extras for item in project["optional-dependencies"][extra]]


def main() -> None:
    print("\n".join(lowest(requirements(sys.argv[1:]))))


if __name__ == "__main__":
    main()
