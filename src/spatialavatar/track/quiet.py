"""Keep MediaPipe's start-up chatter off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide what MediaPipe, TensorFlow Lite and absl write to standard error from C++.

    They write below Python's sys.stderr, before their own log levels apply, so the file descriptor is diverted. What
    Python raises still comes through, since it is printed after this context ends.
    """
    for name, value in (("GLOG_minloglevel", "3"), ("TF_CPP_MIN_LOG_LEVEL", "3"), ("MEDIAPIPE_DISABLE_GPU", "1")):
        os.environ.setdefault(name, value)
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # No standard error at all, as in some services.
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
