"""Every metric over all calls of a run: what the table at the top of a report says."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.budget import Judged, percentile

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One metric over all calls."""

    name: str
    unit: str
    count: int
    p50: float
    """What so many per cent of the values do not exceed; or fall short of, where more is better."""
    p95: float
    p99: float
    max: float
    min: float
    margin: float | None
    """The smallest of all values that have a limit."""
    limit: float | None
    """The limit where the margin is smallest."""
    low: Range | None
    """The least and the greatest of the lower limits; calls and turns have limits of their own."""
    high: Range | None
    """The same of the upper limits."""
    unlimited: int
    """How many values have no limit, be it that their scenarios switch it off."""
    failed: int
    """How many values are beyond their limits."""
    undecided: int
    """How many have their limit within their error bound."""

    @property
    def worst(self) -> float:
        """The greatest value; the least, where more is better."""
        return self.min if METRICS[self.name].more_is_better else self.max

    @property
    def limits(self) -> str:
        """All limits in words: `≤ 700.0 … 3500.0`, `435.0 … 445.0`; empty without any."""
        if self.low and self.high and self.low[0] == self.low[1] and self.high[0] == self.high[1]:
            text = f"{self.low[0]:.1f} … {self.high[1]:.1f}"
        else:
            bounds = ("≥", self.low), ("≤", self.high)
            text = ", ".join(f"{sign} {_range(bound)}" for sign, bound in bounds if bound)
        return f"{text}, or none" if text and self.unlimited else text


@dataclass(frozen=True, kw_only=True, slots=True)
class Certainty:
    """How exactly the values of a run are known, and what that means for its limits."""

    limits: int
    """How many values were held against one."""
    undecided: int
    """How many of these have it within their error bound."""
    median_bound_ms: float | None
    """Half of all error bounds of times, with a limit or without, are at most this."""

    def __str__(self) -> str:
        """`Of 1337 limits 0 are undecided; half of the error bounds are within 0.4 ms`."""
        limits = "1 limit" if self.limits == 1 else f"{self.limits} limits"
        told = f"Of {limits} {self.undecided} {'is' if self.undecided == 1 else 'are'} undecided"
        if self.median_bound_ms is None:
            return told
        return f"{told}; half of the error bounds are within {self.median_bound_ms:.1f} ms"


def certainty_of(judged: Iterable[Judged]) -> Certainty:
    """The same over every value; limits of percentiles are another matter."""
    values = [one for one in judged if one.statistic is None and one.is_value]
    limited = [one for one in values if one.held is not None]
    bounds_ms = [one.bound.size for one in values if one.bound and one.unit == "ms"]
    return Certainty(
        limits=len(limited),
        undecided=sum(one.held == "undecided" for one in limited),
        median_bound_ms=median(bounds_ms) if bounds_ms else None,
    )


def summary_of(judged: Iterable[Judged]) -> list[Summary]:
    """Every metric, in the order of the budget; limits of percentiles are another matter."""
    by_name: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        if one.statistic is None and one.is_value:
            by_name[one.name].append(one)
    return [_summary(name, by_name[name]) for name in METRICS if name in by_name]


def _summary(name: str, found: list[Judged]) -> Summary:
    values = [one.value for one in found]
    tightest = min(
        (one for one in found if one.margin is not None),
        key=lambda one: one.margin or 0.0,
        default=None,
    )
    return Summary(
        name=name,
        unit=found[0].unit,
        count=len(values),
        p50=percentile(name, values, 50),
        p95=percentile(name, values, 95),
        p99=percentile(name, values, 99),
        max=max(values),
        min=min(values),
        margin=tightest.margin if tightest else None,
        limit=tightest.limit if tightest else None,
        low=_span([one.low for one in found if one.low is not None]),
        high=_span([one.high for one in found if one.high is not None]),
        unlimited=sum(one.margin is None for one in found),
        failed=sum(one.verdict == "failed" for one in found),
        undecided=sum(one.held == "undecided" for one in found),
    )


def _span(bounds: Sequence[float]) -> Range | None:
    return (min(bounds), max(bounds)) if bounds else None


def _range(bounds: Range) -> str:
    least, greatest = (f"{bound:.1f}" for bound in bounds)
    return least if least == greatest else f"{least} … {greatest}"
