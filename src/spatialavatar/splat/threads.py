"""How many threads the CPU kernels use.

The kernels have a thread pool of their own: torch's OpenMP threads spin after each operation and would take the
processor away from it. Importing `spatialavatar` before torch therefore sets ``GOMP_SPINCOUNT=0`` and
``OMP_WAIT_POLICY=passive``, unless they are set; a program that imports torch first should set them itself.

The results of the kernels are the same bits for any number of threads.
"""

from __future__ import annotations

import os

import torch

from spatialavatar import _native
from spatialavatar.errors import UserError

ENVIRONMENT_VARIABLE = "SPATIALAVATAR_THREADS"


def set_threads(count: int) -> None:
    """Use ``count`` threads in the kernels and in torch's own operations.

    Raises:
        ValueError: The count is below 1.
    """
    if count < 1:
        raise ValueError(f"set_threads: the count must be at least 1, got {count}")
    _native.set_threads(count)
    torch.set_num_threads(count)


def threads() -> int:
    """How many threads the kernels use."""
    return int(_native.threads())


def default_threads() -> int:
    """``SPATIALAVATAR_THREADS`` if that is set, else the number of processors this process may run on.

    Raises:
        UserError: The variable is not a whole number of at least 1.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE)
    if text:
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise UserError(f"must be a whole number of at least 1, got {text!r}", where=ENVIRONMENT_VARIABLE)
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Torch keeps its own setting here, so that importing the package does not change other code's speed.
_native.set_threads(default_threads())
