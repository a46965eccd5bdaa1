"""What reading one input came to."""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatialavatar.errors import UserError

OUTCOMES = ("ok", "refused", "other exception", "not finite", "over memory", "over time", "signal")
"""`refused` is a UserError. Those from the third on are faults."""
FAULTS = OUTCOMES[2:]
# What says nothing about its values: models and layouts of our own, and landmarks, NaN where no face was found.
_PASSED_OVER = frozenset({"head", "layout", "landmarks", "frames", "path", "folder", "sight_of"})


def outcome_of(read: Callable[[Path], Any], path: Path) -> tuple[str, str]:
    """One of `OUTCOMES`, and for a fault what happened."""
    try:
        result = read(path)
    except UserError as error:
        return ("over memory", _last_of(error)) if _is_memory(error) else ("refused", "")
    except Exception as error:
        return "over memory" if _is_memory(error) else "other exception", _last_of(error)
    bad = _not_finite(result, "result")
    return ("ok", "") if bad is None else ("not finite", bad)


def _last_of(error: BaseException) -> str:
    """The error and where it was raised, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    places = "".join(f"    {Path(frame.filename).name}:{frame.lineno} {frame.name}: {frame.line}\n" for frame in frames)
    return f"{type(error).__name__}: {str(error)[:300]}\n{places}"


def _is_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, whatever was said about it in the end."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return True
        error = error.__context__
    return False


def _not_finite(value: Any, name: str, depth: int = 0) -> str | None:
    """The name of a number inside that is not finite, or None."""
    if depth > 12:
        return None
    if isinstance(value, torch.Tensor):
        return None if not value.is_floating_point() or bool(torch.isfinite(value).all()) else name
    if isinstance(value, np.ndarray):
        return None if value.dtype.kind not in "fc" or bool(np.isfinite(value).all()) else name
    if isinstance(value, float):
        return None if math.isfinite(value) else name
    inside: Any = ()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, (list, tuple)):
        inside = enumerate(value[:1000])
    for key, entry in inside:
        if key not in _PASSED_OVER:
            found = _not_finite(entry, f"{name}.{key}", depth + 1)
            if found is not None:
                return found
    return None
