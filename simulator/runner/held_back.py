"""What held a run back: why it did not place its calls faster."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

_SHORT_S = 1.0

Carries = Callable[[Callable[[], int]], Awaitable[None]]
"""Waits until one call more can be carried; gets how many are under way."""


@dataclass(slots=True)
class HeldBack:
    """For how long the next call waited, and for what."""

    places_s: float = 0.0
    machine_s: float = 0.0
    placed_s: float = 0.0
    """When the last call was placed, on the monotonic clock."""

    @contextmanager
    def by_places(self) -> Iterator[None]:
        """While a call waits for a place. One at a time does, the others wait behind it."""
        begun_s = monotonic()
        try:
            yield
        finally:
            self.places_s += monotonic() - begun_s

    @contextmanager
    def by_the_machine(self) -> Iterator[None]:
        """While a call that has a place waits until the machine carries it."""
        begun_s = monotonic()
        try:
            yield
        finally:
            self.machine_s += monotonic() - begun_s
            self.placed_s = monotonic()

    def sentence(self, jobs: int, begun_s: float) -> str:
        """In a line, when all calls are over; empty where none has waited to speak of.

        Args:
            jobs: how many places there were.
            begun_s: when the run began to place calls, on the monotonic clock.
        """
        if self.places_s + self.machine_s < _SHORT_S:
            return ""
        over_s = monotonic()
        last_s = over_s - max(self.placed_s, begun_s)
        places = f"{jobs} places: all were taken" if jobs > 1 else "one place: it was taken"
        reasons = {
            f"its {places}": self.places_s,
            "the machine: its processors had no time left for one more": self.machine_s,
            "the last calls: no other waited any more": last_s,
        }
        why = max(reasons, key=lambda reason: reasons[reason])
        return f"Held back by {why} for {reasons[why]:.0f} of {over_s - begun_s:.0f} s."
