"""A process in its surroundings: the signals it gets, the end of its parent, and its memory."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator

from callerside.agent.service.early_reloads import reload_was_asked_for

_READ_BYTES = 4096


@contextlib.contextmanager
def signals(*, stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop`, SIGHUP calls `reload`, on the loop's thread.

    So does one that came before (`early_reloads`).
    """
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    if reload_was_asked_for():
        loop.call_soon(reload)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def end_of_input(on_end: Callable[[], None]) -> Iterator[None]:
    """Call `on_end` when standard input ends: the process that held its other end is gone."""
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(descriptor, _READ_BYTES):
            loop.remove_reader(descriptor)
            on_end()

    loop.add_reader(descriptor, readable)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)


def keep_what_is_there() -> None:
    """Leave what has been loaded so far out of every later garbage collection: it stays anyway.

    A full collection looks at every object and holds up all threads meanwhile, the pacer's
    too. With what a start loads that is more than a frame's time, in the middle of a call.
    """
    gc.collect()
    gc.freeze()
