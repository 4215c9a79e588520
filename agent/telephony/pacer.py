"""One thread that keeps the rhythm of all audio that leaves: every 20 ms, in time, and no oftener.

It asks for real-time scheduling, for the loop may be busy when a frame is due; without calls it
sleeps.
"""

import asyncio
import contextlib
import sys
import threading
import time
from typing import Protocol

from callerside.agent.telephony.interface import FRAME_MS
from callerside.agent.telephony.thread_priority import hurry
from callerside.clock import NS_PER_MS, NS_PER_S

_FRAME_NS = FRAME_MS * NS_PER_MS
_MOST_BEHIND_NS = 5 * _FRAME_NS
"""A machine that stood still for longer starts the rhythm anew; else frames are caught up."""
_SWITCH_S = 0.0005
"""How long Python may make the thread wait while the loop's runs."""


class Paced(Protocol):
    """What is called in every frame's time, on the pacer's thread; it must not block or raise."""

    def tick(self, at_ns: int) -> None:
        """A frame is due."""

    def deliver(self) -> None:
        """On the loop's thread, soon after a tick: tell what there is to tell."""


class Pacer:
    """The thread, for as long as an endpoint lives."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._paced: tuple[Paced, ...] = ()
        self._lock = threading.Lock()
        self._has_work = threading.Event()
        self._is_closed = False
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_S))
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)
        self._thread.start()

    def add(self, paced: Paced) -> None:
        """Call it from now on."""
        with self._lock:
            if paced not in self._paced:
                self._paced = (*self._paced, paced)
        self._has_work.set()

    def remove(self, paced: Paced) -> None:
        """Call it no more; a tick that is under way may still end after this."""
        with self._lock:
            self._paced = tuple(one for one in self._paced if one is not paced)
            if not self._paced and not self._is_closed:
                self._has_work.clear()

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._has_work.set()
        self._thread.join()

    def _run(self) -> None:
        hurry()
        while not self._is_closed:
            self._has_work.wait()
            due_ns = time.monotonic_ns()
            while self._paced and not self._is_closed:
                paced = self._paced
                for one in paced:
                    one.tick(due_ns)
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._deliver, paced)
                due_ns = self._wait_after(due_ns)

    def _wait_after(self, due_ns: int) -> int:
        due_ns += _FRAME_NS
        wait_ns = due_ns - time.monotonic_ns()
        if wait_ns < -_MOST_BEHIND_NS:
            return time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / NS_PER_S)
        return due_ns

    def _deliver(self, paced: tuple[Paced, ...]) -> None:
        for one in paced:
            one.deliver()
