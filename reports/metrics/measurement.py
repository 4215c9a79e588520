"""One measured number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unmeasured:
    """A number that this call does not have, and why."""

    name: str
    reason: str
    turn: int | None = None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that `percent` of them do not exceed: always one that occurred.

    With few values a high percentile is the largest, never an interpolation below it.
    """
    return float(np.percentile(values, percent, method="inverted_cdf"))
