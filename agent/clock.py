"""Time as an interface, so that the same code runs on the wall clock and on a virtual one.

All times are integer nanoseconds of `time.monotonic_ns`, which every process of one Linux host
shares; only differences mean anything.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Timer(Protocol):
    """A callback that has been scheduled and can still be called off."""

    def cancel(self) -> None:
        """Call it off; a timer that has fired already is left alone."""


class Clock(Protocol):
    """Tells the time and calls back later."""

    def now_ns(self) -> int:
        """The time now, in nanoseconds; never goes backwards."""

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` at `when_ns`; at once, but never within this call, if that has passed.

        Callbacks due at the same instant run in the order in which they were scheduled.
        """


class LoopClock:
    """The wall clock: a `Clock` on a running asyncio loop, which reads the same monotonic clock.

    asyncio promises no order among timers of one instant, so those share one timer of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, list[_LoopTimer]] = {}

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return time.monotonic_ns()

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """See `Clock.call_at`."""
        when_ns = max(when_ns, self.now_ns())
        timer = _LoopTimer(callback)
        if when_ns in self._waiting:
            self._waiting[when_ns].append(timer)
        else:
            self._waiting[when_ns] = [timer]
            self._loop.call_at(when_ns / NS_PER_S, self._fire, when_ns)
        return timer

    def _fire(self, when_ns: int) -> None:
        for timer in self._waiting.pop(when_ns):
            self._loop.call_soon(timer.fire)  # each by itself: an exception stops no other


class _LoopTimer:
    """One callback of a `LoopClock`; forgets it when it is called off."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


def ms_to_ns(duration_ms: float) -> int:
    """Milliseconds as whole nanoseconds."""
    return round(duration_ms * NS_PER_MS)


def ns_to_ms(duration_ns: int) -> float:
    """Nanoseconds as milliseconds."""
    return duration_ns / NS_PER_MS
