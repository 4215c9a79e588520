"""The timers of a machine, by name: what a driver does for a machine that sets and cancels them."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from callerside.clock import Clock, Timer

Name = TypeVar("Name", bound=Hashable)


class TimerSet(Generic[Name]):
    """At most one timer of each name: setting it again moves it.

    Args:
        clock: when they fire.
        on_fired: told the name of each that does; its timer is set no more by then.
    """

    def __init__(self, clock: Clock, on_fired: Callable[[Name], None]) -> None:
        self._clock = clock
        self._on_fired = on_fired
        self._running: dict[Name, Timer] = {}

    def set(self, name: Name, at_ns: int) -> None:
        """Have it fire at a time of the clock, and at no other that was set before."""
        self.cancel(name)
        self._running[name] = self._clock.call_at(at_ns, partial(self._fire, name))

    def cancel(self, name: Name) -> None:
        """Call it off; one that is not set is left alone."""
        timer = self._running.pop(name, None)
        if timer is not None:
            timer.cancel()

    def cancel_all(self) -> None:
        """Call all of them off."""
        for name in list(self._running):
            self.cancel(name)

    def _fire(self, name: Name) -> None:
        del self._running[name]
        self._on_fired(name)
