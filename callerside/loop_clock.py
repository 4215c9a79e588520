"""The wall clock: a `Clock` on a running asyncio loop."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from callerside.clock import NS_PER_S, Timer


class LoopClock:
    """The wall clock: a `Clock` on a running asyncio loop, which reads the same monotonic clock.

    asyncio promises no order among timers of one instant, so those share one timer of the loop; nor
    does another loop among those of one millisecond, so all that are due fire in order.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._instants: dict[int, _Instant] = {}

    now_ns = staticmethod(time.monotonic_ns)
    """See `Clock.now_ns`; asked with every input of every call."""

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """See `Clock.call_at`."""
        when_ns = max(when_ns, self.now_ns())
        instant = self._instants.get(when_ns)
        if instant is None:
            handle = self._loop.call_at(when_ns / NS_PER_S, self._fire, when_ns)
            instant = self._instants[when_ns] = _Instant(handle, partial(self._forget, when_ns))
        timer = _LoopTimer(callback, instant)
        instant.timers.append(timer)
        return timer

    def _fire(self, when_ns: int) -> None:
        now_ns = self.now_ns()
        if now_ns < when_ns:  # a loop whose timers have whole milliseconds
            self._instants[when_ns].moves(self._loop.call_soon(self._fire, when_ns))
        for at_ns in sorted(at_ns for at_ns in self._instants if at_ns <= now_ns):
            for timer in self._instants.pop(at_ns).fires():
                self._loop.call_soon(timer.fire)  # each by itself: an exception stops no other

    def _forget(self, when_ns: int, instant: "_Instant") -> None:
        if self._instants.get(when_ns) is instant:
            del self._instants[when_ns]


class _Instant:
    """The timers of one instant, which share one timer of the loop."""

    __slots__ = ("_called_off", "_forget", "_handle", "timers")

    def __init__(self, handle: asyncio.Handle, forget: Callable[["_Instant"], None]) -> None:
        self.timers: list[_LoopTimer] = []
        self._handle = handle
        self._forget = forget
        self._called_off = 0

    def moves(self, handle: asyncio.Handle) -> None:
        """The loop's timer was too soon, and another one has been set."""
        self._handle = handle

    def fires(self) -> "list[_LoopTimer]":
        """It has come; what the loop still has of it is called off."""
        self._handle.cancel()
        return self.timers

    def call_off(self) -> None:
        """One of the timers was called off; with the last one, nothing is left behind.

        A call has timers of an hour: they must not outlive it.
        """
        self._called_off += 1
        if self._called_off == len(self.timers):
            self._handle.cancel()
            self._forget(self)


class _LoopTimer:
    """One callback of a `LoopClock`; forgets it when it is called off."""

    __slots__ = ("_callback", "_instant")

    def __init__(self, callback: Callable[[], None], instant: _Instant) -> None:
        self._callback: Callable[[], None] | None = callback
        self._instant = instant

    def cancel(self) -> None:
        if self._callback is not None:
            self._callback = None
            self._instant.call_off()

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
