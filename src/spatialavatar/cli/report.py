"""`NAME.report.json`: what a command made, from what, how, and the numbers it printed; scripts read it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from spatialavatar.files import write_json
from spatialavatar.memory import peak_memory_mb
from spatialavatar.products import file_records
from spatialavatar.versions import versions


def report_path(output: Path) -> Path:
    """`me.avatar` -> `me.report.json`, `me.mp4` -> `me.mp4.report.json` (so that rendering an avatar keeps the report
    of how it was made); a folder holds its own `report.json`."""
    if output.is_dir():
        return output / "report.json"
    name = output.stem if output.suffix == ".avatar" else output.name
    return output.with_name(f"{name}.report.json")


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return round(time.perf_counter() - self._start, 2)


def write_report(output: Path, command: str, options: Any, numbers: Mapping[str, Any]) -> Path:
    """Write the report beside (or inside) `output`.

    Args:
        command: Its name.
        options: The command's own dataclass.
        numbers: What it measured; `seconds` among them.

    The report lists the output's bytes and hash: by them a later run knows that it may write over the file.
    """
    path = report_path(output)
    report = {
        "command": command,
        "output": output.name,
        **numbers,
        "files": file_records([output]),
        "peak_memory_mb": peak_memory_mb(),
        "options": plain(asdict(options) if is_dataclass(options) and not isinstance(options, type) else options),
        "versions": versions(),
    }
    write_json(path, plain(report))
    return path


def plain(value: Any) -> Any:
    """Paths, tuples and numpy or torch scalars as JSON knows them; not-a-number as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
