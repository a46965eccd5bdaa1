"""Steps of the benchmark on disk: each whole or not there, named by what it is made from and by which code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import spatialavatar
from spatialavatar.files import new_folder_atomically

_SOURCE = Path(spatialavatar.__file__).parent
_NATIVE = Path(__file__).parents[2] / "native"
_KEY_LENGTH = 10


@cache
def code_key(*packages: str) -> str:
    """A hash of the source text of packages or modules of `spatialavatar`, and of the kernels."""
    digest = hashlib.sha256()
    for package in sorted(packages):
        path = _SOURCE / package
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            digest.update(str(file.relative_to(_SOURCE)).encode() + b"\0" + file.read_bytes() + b"\0")
    for file in sorted(_NATIVE.glob("*.[ch]pp")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:_KEY_LENGTH]


def text_key(*files: Path) -> str:
    """A hash of some files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:_KEY_LENGTH]


def key_of(*parts: Any) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:_KEY_LENGTH]


def made_folder(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made by `make(folder)` where it is not there yet; whole or not at all."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder_atomically(folder) as temporary:
            make(temporary)
    return folder
