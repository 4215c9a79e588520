"""One measured number, and how far it may be from the truth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

Held = Literal["within", "over", "undecided"]
"""How a number stands to its limit: `undecided` where the limit lies within its error bound."""


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """How far something may be from the truth: of 100 that are measured, at most one is farther."""

    size: float
    """In the unit of what was measured; milliseconds, of an instant."""
    source: str
    """What it comes from, as a phrase."""

    def __add__(self, other: "ErrorBound") -> "ErrorBound":
        """Of what is made of both: their worst comes together, and what is exact adds nothing."""
        known = [one for one in (self, other) if one.size]
        source = "; ".join(dict.fromkeys(one.source for one in known)) or self.source
        return ErrorBound(self.size + other.size, source)


def bound_of(bounds: Iterable[ErrorBound]) -> ErrorBound:
    """Of what is made of several; there is at least one."""
    first, *rest = bounds
    return sum(rest, start=first)


def held(
    value: float, bound: ErrorBound | None, *, low: float | None = None, high: float | None = None
) -> Held | None:
    """How a number stands to what it may be, in view of its error bound.

    Args:
        value: as it was measured.
        bound: of its error; a number without one is taken as it is.
        low: the least that it may be, if there is such a limit.
        high: the most that it may be.

    Returns:
        None where there is no limit. A value that is exact and as large as its limit is within it.
    """
    if low is None and high is None:
        return None
    size = bound.size if bound is not None else 0.0
    least, most = (-inf if low is None else low), (inf if high is None else high)
    if least <= value - size and value + size <= most:
        return "within"
    return "over" if value + size < least or value - size > most else "undecided"


@dataclass(frozen=True, slots=True)
class Taken:
    """What the machine took of a time."""

    least_ms: float = 0.0
    """Surely."""
    most_ms: float = 0.0
    """No more than that."""

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(self.least_ms + other.least_ms, self.most_ms + other.most_ms)

    def __bool__(self) -> bool:
        return self.most_ms > 0

    @property
    def doubt_ms(self) -> float:
        """What nobody can tell of it."""
        return self.most_ms - self.least_ms


NOTHING_TAKEN = Taken()


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One number. What it means, from where to where, and its unit are in the registry."""

    name: str
    value: float
    turn: int | None = None
    variant: str | None = None
    """Which of several limits it is held to: a greeting is `cached` or `generated`."""
    own_ms: float | None = None
    """What of the value is the server's own delay, for limits that come on top of it."""
    own_bound: ErrorBound | None = None
    """Of `own_ms`: part of the error of what is held to such a limit."""
    detail: str = ""
    bound: ErrorBound | None = None
    """How far it may be from the truth; every number that a report measures has it."""
    span_ns: tuple[int, int] | None = None
    """From when to when it was measured, where it is one stretch of time."""
    taken: Taken | None = None
    """What the machine took of it, where that is told part by part; it is in the value."""
    packet_ms: float | None = None
    """How long of it the wait for the next packet was, of 0 to 20 ms: that is chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unmeasured:
    """A number that this call does not have, and why."""

    name: str
    reason: str
    turn: int | None = None
    moot: bool = False
    """Whether nothing has happened of which it is: then no limit of it is left undecided."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that `percent` of them do not exceed: always one that occurred.

    With few values a high percentile is the largest, never an interpolation below it.
    """
    return float(np.percentile(values, percent, method="inverted_cdf"))
