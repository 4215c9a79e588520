"""One measured number."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One number. What it means, from where to where, stands in docs/metrics.md."""

    name: str
    value: float
    unit: str = "ms"
    turn: int | None = None
    variant: str | None = None
    """Which of several limits it is held to: a greeting is `cached` or `generated`."""
    own_ms: float | None = None
    """What of the value is the server's own delay, for limits that come on top of it."""
    detail: str = ""
