"""Sphinx: README, docs/ and the reference of the Python API as pages. Built from the repository's root: make docs."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

project = "SpatialAvatar"
author = copyright = "SpatialAvatar contributors"
_init = (ROOT / "src" / "spatialavatar" / "__init__.py").read_text("utf-8")
_found = re.search(r'^__version__ = "(.+)"$', _init, re.MULTILINE)
assert _found is not None
version = release = _found[1]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/site/index"
include_patterns = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
    *("docs/*.md", "docs/site/*.md", "src/spatialavatar/head/assets/NOTICE.md"),
]
# README and NOTICE are reached by links.
suppress_warnings = ["toc.not_included"]

myst_heading_anchors = 4

# The reference is read from the sources and their docstrings; what takes gigabytes to install is not needed for that.
autodoc_mock_imports = ["torch", "cv2", "av", "flatbuffers", "skimage", "safetensors", "PIL", "rich", "tyro"]
autodoc_mock_imports += ["spatialavatar._native"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_preserve_defaults = True
napoleon_google_docstring, napoleon_numpy_docstring, napoleon_use_ivar = True, False, True

html_theme = "furo"
html_title = f"SpatialAvatar {version}"
html_copy_source = False
html_show_sphinx = False


def _whole_sentence(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon in an attribute's first line for its type; here it is a sentence."""
    if what == "attribute":
        lines.insert(0, "")


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _whole_sentence, priority=100)
