"""Versions of what can change a result, for reports."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

OPENCV = tuple(f"opencv-{kind}" for kind in ("contrib-python-headless", "contrib-python", "python-headless", "python"))
"""The distributions of OpenCV: with and without windows, with and without contributed parts."""
_LIBRARIES = {"torch": ("torch",), "numpy": ("numpy",), "av": ("av",), "opencv": OPENCV}


def versions() -> dict[str, str]:
    """Name -> version, "missing" for what is not installed."""
    import spatialavatar

    found = {"spatialavatar": spatialavatar.__version__, "python": platform.python_version()}
    return found | {name: distribution_version(*names) for name, names in _LIBRARIES.items()}


def distribution_version(*names: str) -> str:
    """Of the first distribution that is installed; "missing" where none is."""
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "missing"
