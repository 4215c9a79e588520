"""What all tests share: where every peer is installed, no test may be skipped."""

import os
from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With EARSHOT_NO_SKIPS=1 a skip is a failure: that machine is meant to have everything."""
    report = yield
    if (
        report.skipped
        and os.environ.get("EARSHOT_NO_SKIPS") == "1"
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped where no test may be: {report.longrepr}"
    return report
