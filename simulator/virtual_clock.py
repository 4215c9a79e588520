"""Virtual time: one heap of callbacks, so that a minute of a call takes as long as its computing.

`VirtualClock` is an `agent.clock.Clock`. Time stands still while a callback runs and then jumps to
the next one due; callbacks of the same instant run in the order in which they were scheduled.
Nothing here knows the wall clock, so that a run is repeatable to the last nanosecond.
"""

import heapq
from collections.abc import Callable

_MAX_CALLBACKS = 20_000_000
"""Of one run: about three days of a call. Reaching it means that time has stopped moving."""


class VirtualTimeError(RuntimeError):
    """The callbacks did not come to an end within their bound: somebody schedules for ever."""


class VirtualTimer:
    """A callback on the heap, which forgets it when it is called off."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """See `agent.clock.Timer.cancel`."""
        self.callback = None


class VirtualClock:
    """A `Clock` whose time is moved by `run_until` and `run`, and by nothing else.

    Args:
        start_ns: what the clock shows at first.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._sequence = 0
        self._stopped = False
        self._heap: list[tuple[int, int, VirtualTimer]] = []

    def now_ns(self) -> int:
        """See `agent.clock.Clock.now_ns`."""
        return self._now_ns

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> VirtualTimer:
        """See `agent.clock.Clock.call_at`."""
        timer = VirtualTimer(callback)
        self._sequence += 1
        heapq.heappush(self._heap, (max(when_ns, self._now_ns), self._sequence, timer))
        return timer

    def run_until(self, when_ns: int, *, max_callbacks: int = _MAX_CALLBACKS) -> int:
        """Run everything due up to and including `when_ns`, and stand there.

        Returns:
            How many callbacks ran.

        Raises:
            VirtualTimeError: more than `max_callbacks` were due.
        """
        ran = self._run(when_ns, max_callbacks)
        self._now_ns = max(self._now_ns, when_ns)
        return ran

    def again_at(self, when_ns: int, timer: VirtualTimer, callback: Callable[[], None]) -> None:
        """Use a timer that has fired once more: `call_at` for what comes fifty times a second."""
        timer.callback = callback
        self._sequence += 1
        heapq.heappush(self._heap, (max(when_ns, self._now_ns), self._sequence, timer))

    def run(self, until_ns: int, *, max_callbacks: int = _MAX_CALLBACKS) -> bool:
        """Run until a callback calls `stop`, at the longest up to `until_ns`.

        Returns:
            Whether it was stopped; if not, nothing more is due up to `until_ns`.

        Raises:
            VirtualTimeError: more than `max_callbacks` were due.
        """
        self._run(until_ns, max_callbacks)
        return self._stopped

    def stop(self) -> None:
        """Let `run` return once the callback that runs now has returned."""
        self._stopped = True

    def _run(self, until_ns: int, max_callbacks: int) -> int:
        heap = self._heap
        heappop = heapq.heappop
        ran = 0
        self._stopped = False
        while heap and heap[0][0] <= until_ns:
            when_ns, _, timer = heappop(heap)
            callback = timer.callback
            if callback is None:
                continue
            if ran >= max_callbacks:
                raise VirtualTimeError(
                    f"{ran} callbacks have run and more are due at {when_ns} ns: something "
                    "schedules itself without letting time pass"
                )
            self._now_ns = when_ns
            timer.callback = None
            callback()
            ran += 1
            if self._stopped:
                break
        return ran
