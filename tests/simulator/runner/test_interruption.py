"""A run that is asked to end: what the user is told, and what not."""

import logging
import os
import signal

import pytest

from callerside.simulator.runner.interruption import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_one_is_told_and_asyncios_own_warnings_are_not(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio warns of children that end while it begins them."""
    caplog.set_level(logging.WARNING, logger="asyncio")  # which is restored behind the test
    told: list[str] = []
    before = signal.getsignal(number)
    try:
        with interruptible(lambda: told.append("once")):
            logging.getLogger("asyncio").warning("before")
            os.kill(os.getpid(), number)
            logging.getLogger("asyncio").warning("Unknown child process pid 4711")
            logging.getLogger("asyncio").error("Task exception was never retrieved")
    finally:
        signal.signal(number, before)
    assert told == ["once"]
    assert [one.message for one in caplog.records] == [
        "before",
        "Task exception was never retrieved",
    ]
