"""Code under a limit of memory, in a process of its own."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

import pytest

from spatialavatar.errors import UserError


def refused_within(megabytes: int, read: Callable[[], object]) -> str:
    """The message with which `read` refuses its input; see `answer_within`."""
    answer = answer_within(megabytes, read)
    assert answer.startswith("UserError "), answer
    return answer.removeprefix("UserError ")


def answer_within(megabytes: int, read: Callable[[], object]) -> str:
    """What `read` comes to, while at most so much memory is reserved beyond what there is: the text "read", or
    "UserError" and its message.

    Skips where a process cannot limit itself. The child is forked: importing torch anew would take seconds.
    """
    if sys.platform != "linux":
        pytest.skip("only Linux keeps to a limit of address space")
    import resource

    gets, puts = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with open("/proc/self/statm") as file:
                now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (now + (megabytes << 20),) * 2)
            try:
                read()
                answer = "read"
            except UserError as error:
                answer = f"UserError {error}"
        except BaseException:
            answer = traceback.format_exc()
        os.write(puts, answer.encode()[:4000])
        os._exit(0)
    os.close(puts)
    with os.fdopen(gets, "rb") as stream:
        answer = stream.read().decode()
    os.waitpid(child, 0)
    assert answer == "read" or answer.startswith("UserError "), answer or "the process was ended by the system"
    assert "not enough memory" not in answer, answer
    return answer
