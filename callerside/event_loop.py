"""The loop of a process that carries calls: libuv's (uvloop), where there is a wheel of it.

A call wakes its loop for each packet, and a wake of asyncio's own takes half as much again of a
processor. What differs is that its timers have whole milliseconds, and may be so much too soon.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(work)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop; None: asyncio."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
