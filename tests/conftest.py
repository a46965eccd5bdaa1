"""What a skipped test means: a line with the reason; in CI (CI=true) a failure, unless nothing could be installed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from typing import Any

import pytest

from tests.tools import MARKED, needs_tool

# Skips that stay skips in CI: what no package manager brings. Each with the words that its reason must match in full.
ALLOWED_IN_CI: tuple[str, ...] = (
    r"needs an NVIDIA GPU and gsplat",
    r"there is an NVIDIA GPU",  # the message that there is none cannot be seen
    r"this system has no (fork|named pipes|signals)",  # Windows
)
if sys.version_info < (3, 11):
    # Its versions for Python 3.10 lack what is compared with.
    ALLOWED_IN_CI += (r"body-models needs Python 3\.11",)


def skips_fail() -> bool:
    """Whether this is CI, where everything that can be installed has to be."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def may_be_skipped(reason: str) -> bool:
    """Whether a skip with this reason is fine in CI."""
    words = reason.removeprefix("Skipped: ")
    return any(re.fullmatch(pattern, words) for pattern in ALLOWED_IN_CI)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def _fail_unlisted_skip(report: Any) -> None:
    if skips_fail() and report.skipped and not hasattr(report, "wasxfail") and not may_be_skipped(_reason(report)):
        report.outcome = "failed"
        report.longrepr = (
            f"{report.nodeid} was skipped, and in CI nothing is that could be installed.\n{_reason(report)}\n"
            "Install what is missing (.ci/run does), or name the reason in tests/conftest.py."
        )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, tools in MARKED.items():
        if item.get_closest_marker(marker) is not None:
            for tool in tools:
                needs_tool(tool)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_unlisted_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_unlisted_skip(report)
    return report
