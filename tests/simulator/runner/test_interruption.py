"""A run that is asked to end: what the user is told, and what not."""

import logging
import os
import signal

import pytest

from callerside.simulator.runner.interruption import interruptible

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", ALL)
def test_the_first_one_is_told_and_asyncios_own_warnings_are_not(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio warns of children that end while it begins them."""
    caplog.set_level(logging.WARNING, logger="asyncio")  # which is restored behind the test
    told: list[str] = []
    before = {one: signal.getsignal(one) for one in ALL}
    try:
        with interruptible(lambda: told.append("once")):
            logging.getLogger("asyncio").warning("before")
            os.kill(os.getpid(), number)
            logging.getLogger("asyncio").warning("Unknown child process pid 4711")
            logging.getLogger("asyncio").error("Task exception was never retrieved")
    finally:
        for one, handler in before.items():  # a process that got one keeps them, to leave at once
            signal.signal(one, handler)
    assert told == ["once"]
    assert [one.message for one in caplog.records] == [
        "before",
        "Task exception was never retrieved",
    ]
