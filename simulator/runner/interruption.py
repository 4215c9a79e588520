"""Ctrl-C, and what else asks a run to end: the first one ends it politely, a second one at once."""

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from callerside.interrupts import EXIT_INTERRUPTED
from callerside.simulator.lanes.sip.child_process import kill_all

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible(on_first: Callable[[], None]) -> Iterator[None]:
    """Call `on_first` at the first signal; at the second this process and all of ours end.

    For the main thread. Signals are not left to asyncio: a call in memory holds up its loop.

    Args:
        on_first: may be called between any two instructions of the main thread.
    """
    got = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal got
        if got:
            leave_at_once()
        got = True
        # Of children that end while they begin it says that it does not know them: no news here.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        on_first()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        if not got:  # a second one that comes as this process ends leaves at once, too
            for number, handler in before.items():
                signal.signal(number, handler)


def leave_at_once() -> None:
    """End this process and every one that it has started, whatever they are doing."""
    kill_all()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(EXIT_INTERRUPTED)
