"""Keep MediaPipe's chatter off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide what MediaPipe, TensorFlow Lite and absl write to standard error from C++, while this context lasts.

    They write to file descriptor 2 from threads of their own, before their log levels apply, so the descriptor is
    diverted. Python's own standard error, progress bars among it, goes on to where it went.
    """
    for name, value in (("GLOG_minloglevel", "3"), ("TF_CPP_MIN_LOG_LEVEL", "3"), ("MEDIAPIPE_DISABLE_GPU", "1")):
        os.environ.setdefault(name, value)
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # No standard error at all, as in some services.
        yield
        return
    shown = sys.stderr
    own = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if shown.fileno() == 2:
            own = open(os.dup(kept), "w", buffering=1, encoding=shown.encoding, errors="backslashreplace")
            sys.stderr = own
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        with warnings.catch_warnings():
            # MediaPipe's results make protobuf warn, on every frame, of a function that MediaPipe calls itself.
            warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype")
            yield
    finally:
        if own is not None:
            sys.stderr = shown
            own.close()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
