"""Virtual time: one heap of callbacks, so that a minute of a call takes as long as its computing.

`VirtualClock` is an `clock.Clock`. Time stands still while a callback runs and then jumps to
the next one due; callbacks of the same instant run in the order in which they were scheduled.
Nothing here knows the wall clock, so that a run is repeatable to the last nanosecond.

What comes a hundred times a second, the ticks of a line's media, would fill the heap with little
else: it keeps its own time as the clock's `Metronome`, and gets how far it may go by itself.
"""

import heapq
from collections.abc import Callable
from typing import Protocol

_MAX_CALLBACKS = 20_000_000
"""Of one run: about three days of a call. Reaching it means that time has stopped moving."""

NEVER_NS = 1 << 62


class VirtualTimeError(RuntimeError):
    """The callbacks did not come to an end within their bound: somebody schedules for ever."""


class Metronome(Protocol):
    """Comes again and again, in its turn among the callbacks of the heap."""

    @property
    def due_ns(self) -> int:
        """When it comes next; `NEVER_NS` while it rests."""

    @property
    def sequence(self) -> int:
        """Its place among callbacks of that instant (`VirtualClock.take_sequence`)."""

    def beat(self, before_ns: int) -> None:
        """Do what is due, and be due later; may do all that is due before `before_ns` as well."""


class _AtRest:
    """The metronome of a clock that has none."""

    due_ns = NEVER_NS
    sequence = 0

    def beat(self, before_ns: int) -> None:
        """See `Metronome.beat`."""


class VirtualTimer:
    """A callback on the heap, which forgets it when it is called off."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """See `callerside.clock.Timer.cancel`."""
        self.callback = None


class VirtualClock:
    """A `Clock` whose time is moved by `run_until` and `run`, and by nothing else.

    Args:
        start_ns: what the clock shows at first.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self.metronome: Metronome = _AtRest()
        self._now_ns = start_ns
        self._sequence = 0
        self._stopped = False
        self._heap: list[tuple[int, int, VirtualTimer]] = []

    @property
    def has_metronome(self) -> bool:
        """Whether something beats already."""
        return not isinstance(self.metronome, _AtRest)

    def now_ns(self) -> int:
        """See `callerside.clock.Clock.now_ns`."""
        return self._now_ns

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> VirtualTimer:
        """See `callerside.clock.Clock.call_at`."""
        timer = VirtualTimer(callback)
        self._sequence += 1
        heapq.heappush(self._heap, (max(when_ns, self._now_ns), self._sequence, timer))
        return timer

    def take_sequence(self) -> int:
        """A place behind everything that has been scheduled so far."""
        self._sequence += 1
        return self._sequence

    def skip_to(self, when_ns: int) -> None:
        """Show a later time while the metronome beats: nothing else was due until then."""
        self._now_ns = when_ns

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
        ran = 0
        self._stopped = False
        while not self._stopped:
            while heap and heap[0][2].callback is None:
                heapq.heappop(heap)
            when_ns, sequence = heap[0][:2] if heap else (NEVER_NS, 0)
            metronome = self.metronome
            due_ns = metronome.due_ns
            beats = due_ns < when_ns or (due_ns == when_ns and metronome.sequence < sequence)
            due_ns = min(due_ns, when_ns)
            if due_ns > until_ns:
                break
            if ran >= max_callbacks:
                raise VirtualTimeError(
                    f"{ran} callbacks have run and more are due at {due_ns} ns: something "
                    "schedules itself without letting time pass"
                )
            ran += 1
            self._now_ns = due_ns
            if beats:
                metronome.beat(min(when_ns, until_ns + 1))
            else:
                timer = heapq.heappop(heap)[2]
                callback, timer.callback = timer.callback, None
                if callback is not None:
                    callback()
        return ran
