"""Memory of this process."""

from __future__ import annotations

import sys


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, MiB; None on Windows, where Python does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, the others KiB.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
