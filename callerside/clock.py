"""Time as an interface, so that the same code runs on the wall clock and on a virtual one.

All times are integer nanoseconds of `time.monotonic_ns`, which every process of one Linux host
shares; only differences mean anything.
"""

from collections.abc import Callable
from typing import Protocol

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Timer(Protocol):
    """A callback that has been scheduled and can still be called off."""

    def cancel(self) -> None:
        """Call it off; a timer that has fired already is left alone."""


class Clock(Protocol):
    """Reads the time and calls back later."""

    def now_ns(self) -> int:
        """The time now, in nanoseconds; never goes backwards."""

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` at `when_ns`; at once, but never within this call, if that has passed.

        Callbacks due at the same instant run in the order in which they were scheduled.
        """


def ms_to_ns(duration_ms: float) -> int:
    """Milliseconds as whole nanoseconds."""
    return round(duration_ms * NS_PER_MS)


def ns_to_ms(duration_ns: int) -> float:
    """Nanoseconds as milliseconds."""
    return duration_ns / NS_PER_MS
