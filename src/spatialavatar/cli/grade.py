"""The grade of a recording, in a few lines at the end of `track` and `create`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spatialavatar.cli.run import say
from spatialavatar.input_files import read_json

_MOST = 4


def say_grade(recording: Any) -> None:
    """Print what report.json holds as `recording`: the grade, its reasons, and what to do about them."""
    if not isinstance(recording, dict) or "grade" not in recording:
        return
    reasons = recording.get("reasons", [])
    say(f"Grade:    {recording['grade']}" + ("" if reasons else " (nothing to complain about in this recording)"))
    for reason in reasons[:_MOST]:
        say(f"          - {reason['text']}")
        say(f"            {reason['advice']}")
    if len(reasons) > _MOST:
        say(f"          and {len(reasons) - _MOST} more in report.json")


def recording_of(folder: Path) -> Any:
    """What the report of a tracked folder says of the recording; None where there is nothing."""
    path = folder / "report.json"
    return read_json(path).get("recording") if path.exists() else None
