"""Threads for what would hold up the loop: prompt files, and the user's own functions.

A function may never come back. It then keeps a thread, but neither a place that others wait for
nor the process at its end: the threads are daemons, and there is a bound.
"""

import asyncio
import threading
from collections.abc import Callable

import structlog

from callerside.agent.call.events import CallInput
from callerside.agent.service.driver import Work

_log = structlog.get_logger(__name__)


class ThreadPool:
    """Runs each piece of work in a thread of its own, and hands its result back to the loop."""

    def __init__(self, name: str, max_threads: int) -> None:
        """`max_threads`: work beyond so many at once is dropped, and logged."""
        self._name = name
        self._free = threading.Semaphore(max_threads)

    def run(self, work: Work, on_done: Callable[[CallInput], None]) -> None:
        """Start the work; `on_done` gets its result, on the loop's thread.

        Without a free thread, or if the work raises, nothing comes back: who waits has a limit.
        """
        if not self._free.acquire(blocking=False):
            _log.error("background_full", pool=self._name)
            return
        loop = asyncio.get_running_loop()
        thread = threading.Thread(
            target=self._work, args=(loop, work, on_done), name=self._name, daemon=True
        )
        thread.start()

    def _work(
        self, loop: asyncio.AbstractEventLoop, work: Work, on_done: Callable[[CallInput], None]
    ) -> None:
        try:
            result = work()
        except Exception:
            _log.exception("background_work_failed", pool=self._name)
            return
        finally:
            self._free.release()
        try:
            loop.call_soon_threadsafe(on_done, result)
        except RuntimeError:  # the loop has been closed meanwhile: nobody waits any more
            return
