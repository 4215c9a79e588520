"""Which limits make sense: one that no call can keep, or that each keeps, is a mistake.

`turn_ms: -5` fails every call, `turn_ms: 0.8` was meant in seconds. Asked of what people write, in
a scenario or in a file of limits; the limits of runs that are kept are judged as they are.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from callerside.reports.metrics.registry import METRICS, Metric
from callerside.reports.verdict.budget import (
    PERCENTILES,
    BudgetError,
    Limit,
    is_lifted,
    parse_limits,
)

_LEAST_OF_A_TIME_MS = 1.0
"""A time below it that is not 0 is one in seconds: nothing here is measured so finely."""


def check_limit(name: str, limit: Any) -> None:
    """Whether a metric's limit, as it is written in YAML, is one, and can be kept and missed.

    Raises:
        BudgetError: it is none, or makes no sense; says what was expected.
    """
    parsed = parse_limits({name: limit})[name]
    _check(METRICS[name], name, limit, parsed)


def _check(metric: Metric, name: str, written: Any, limit: Limit) -> None:
    if is_lifted(written):
        return
    for key, number in _numbers(metric, written):
        _check_number(metric, f"{name}: {key}" if key else name, key, number)
    if limit.low is not None and limit.low == limit.high and not _is_counted(metric):
        raise BudgetError(
            f"{name}: {written!r}, no measured value is just {limit.low + 0.0:g}: expected room "
            "on either side"
        )
    if isinstance(written, Mapping):
        _check_order(metric, name, written)
    for variant, own in limit.variants:
        _check(metric, f"{name}: {variant}", written[variant], own)


def _numbers(metric: Metric, limit: Any) -> Iterator[tuple[str, float]]:
    """Each bound by its key, of which a bare number has none."""
    if isinstance(limit, Mapping):
        yield from ((key, one) for key, one in limit.items() if key not in metric.variants)
    else:
        yield "", limit


def _check_number(metric: Metric, name: str, key: str, number: float) -> None:
    low, high = _range(metric, key)
    is_tiny = metric.unit == "ms" and 0 < abs(number) < _LEAST_OF_A_TIME_MS
    is_part = _is_counted(metric) and number != int(number)
    if low <= number <= high and not is_tiny and not is_part:
        return
    whole = "a whole number of " if is_part else ""
    raise BudgetError(
        f"{name}: {number:g}, expected {whole}{low:.10g} to {high:.10g} {metric.unit}"
        f"{_meant(metric, number, low, high)}"
    )


def _range(metric: Metric, key: str) -> tuple[float, float]:
    """From where to where a bound may lie."""
    low, high = metric.limits
    match key:
        case "min" if not metric.more_is_better:
            return min(low, 0.0), high
        case "within" | "above_own":
            return _LEAST_OF_A_TIME_MS if metric.unit == "ms" else 0.1, high
        case _:
            return low, high


def _meant(metric: Metric, number: float, low: float, high: float) -> str:
    """The number that is meant if it is one of seconds, or a share of 1."""
    times = {"ms": 1000, "%": 100}.get(metric.unit, 1)
    likely = 0 < number < max(low, 1.0) and low <= number * times <= high and times > 1
    return f"; did you mean {number * times:g}?" if likely else ""


def _check_order(metric: Metric, name: str, limit: Mapping[str, Any]) -> None:
    """A percentile that may be worse than what every value must keep says nothing."""
    last = "min" if metric.more_is_better else "max"
    given = [(key, limit[key]) for key in (*PERCENTILES, last) if key in limit]
    for (key, number), (stricter, most) in pairwise(given):
        if number < most if metric.more_is_better else number > most:
            raise BudgetError(
                f"{name}: {key}: {number:g} says nothing beside {stricter}: {most:g}: "
                f"expected {'more' if metric.more_is_better else 'less'}"
            )


def _is_counted(metric: Metric) -> bool:
    return metric.unit in ("stops", "packets")
