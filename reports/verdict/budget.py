"""The budget: which limit each number is held to, and the verdict.

The defaults stand with their metrics, in `reports.metrics.registry`, as a scenario writes its own,
which replace single ones:

    metric: 500                          at most 500; of what more is better, at least; of an
                                         error (`heard_error_ms`) no farther from 0, either way
    metric: {min: 4, max: 9}             within these
    metric: {target: 440, within: 5}     440 ± 5
    metric: {above_own: 40}              at most the server's own delay, and 40 more
    metric: {p95: 800, max: 1200}        every value at most 1200; 95 % of those of all calls of
                                         the scenario (`repeat`, `callers`) at most 800
    metric: {cached: 700, generated: 3500}   by what was measured
    metric: off                          anything
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from math import isfinite
from typing import Any, Literal, assert_never

from callerside.command_line import CommandError
from callerside.reports.metrics import measurement as stats
from callerside.reports.metrics.measurement import (
    NOTHING_TAKEN,
    ErrorBound,
    Held,
    Measurement,
    Taken,
    held,
)
from callerside.reports.metrics.registry import METRICS, Metric
from callerside.reports.verdict.calibration import Calibration

Verdict = Literal["passed", "failed", "not measured", "unlimited"]
Reason = Literal["machine", "undecided"]
"""Why a value is none: the machine took more of it than it is beyond its limit; or the limit lies
within the error bound of the value."""

PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
"""Of which a limit may be, and how many per cent of the values keep it."""
_BOUNDS = ("min", "max", "target", "within", "above_own")


class BudgetError(CommandError, ValueError):
    """A limit that cannot be understood: says which, and what was expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """What a number may be."""

    low: float | None = None
    high: float | None = None
    above_own: float | None = None
    """At most so much more than the server's own delay."""
    percentiles: tuple[tuple[str, float], ...] = ()
    """Limits of a call's percentiles, by name."""
    variants: tuple[tuple[str, "Limit"], ...] = ()

    def of(self, variant: str | None) -> "Limit":
        """The limit for a variant of the metric."""
        return dict(self.variants).get(variant or "", self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A number, its limit, and the verdict."""

    name: str
    value: float
    """Without what the machine surely took of it."""
    unit: str
    verdict: Verdict
    turn: int | None = None
    limit: float | None = None
    """The one that is nearer to the value."""
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    """How far the value is inside of its limit; negative outside."""
    bound: ErrorBound | None = None
    """How far the value may be from the truth."""
    statistic: str | None = None
    """`p95` and the like, where this is not a single value."""
    own_ms: float | None = None
    variant: str | None = None
    """Which kind of the metric this is, as `cached`."""
    span_ns: tuple[int, int] | None = None
    """From when to when it was measured, where it is one stretch of time."""
    taken: Taken | None = None
    """What the machine took of it, where that is told part by part: `least_ms` are off."""
    packet_ms: float | None = None
    """How long of it the wait for the next packet was: in the value."""
    reason: Reason | None = None
    """Why it is not measured."""
    detail: str = ""

    @property
    def as_measured(self) -> float:
        """The value with what the machine took of it."""
        return self.value + (self.taken or NOTHING_TAKEN).least_ms

    @property
    def is_value(self) -> bool:
        """Whether the value says something of the agent: not where the machine had its part."""
        return self.reason != "machine"

    @property
    def held(self) -> Held | None:
        """How the value stands to its limits in view of its error; None: it has none."""
        return held(self.value, self.bound, low=self.low, high=self.high)


Limits = Mapping[str, Limit]


@cache
def default_limits() -> Limits:
    """The limits that metrics have where a scenario says nothing."""
    budgets = {name: metric.budget for name, metric in METRICS.items()}
    return parse_limits({name: limit for name, limit in budgets.items() if limit is not None})


def limits_for(overrides: Mapping[str, Any]) -> Limits:
    """The default limits with a scenario's own over them.

    Raises:
        BudgetError: a metric or a limit that does not exist.
    """
    written = {name: _with_other_variants(name, limit) for name, limit in overrides.items()}
    merged = {**default_limits(), **parse_limits(written)}
    return {name: limit for name, limit in merged.items() if not is_lifted(overrides.get(name))}


def _with_other_variants(name: str, limit: Any) -> Any:
    """What is said of some variants leaves the default limits of the others as they are."""
    metric = METRICS.get(name)
    default = metric.budget if metric is not None else None
    if not (isinstance(limit, Mapping) and isinstance(default, Mapping) and metric is not None):
        return limit
    if not limit or not set(limit) <= set(metric.variants):
        return limit
    others = {variant: default[variant] for variant in metric.variants if variant in default}
    return {**others, **limit}


def is_lifted(value: Any) -> bool:
    """Whether a limit as it is written says that there is none. Zero is a limit."""
    return value is False or value == "off"


def parse_limits(spec: Mapping[str, Any]) -> Limits:
    """Limits as they are written in YAML (the forms: above).

    Raises:
        BudgetError: a metric or a limit that does not exist.
    """
    return {_known(name): _parse(name, value) for name, value in spec.items()}


def percentile(name: str, values: Iterable[float], percent: float) -> float:
    """What so many per cent of a metric's values do not exceed, or do not fall short of."""
    if METRICS[name].more_is_better:
        return -stats.percentile([-value for value in values], percent)
    return stats.percentile(list(values), percent)


def judge(
    measurements: Iterable[Measurement],
    limits: Limits,
    *,
    calibration: Calibration | None = None,
) -> list[Judged]:
    """Hold every number to its limit; a metric without one is `unlimited`.

    Limits of percentiles are another matter: a call is one of many (`judge_percentiles`).

    Args:
        measurements: of one call.
        limits: by metric.
        calibration: the harness's own errors, of which a bias is taken off the values.
    """
    biases = calibration.biases_ms if calibration else {}
    by_name: dict[str, list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        by_name[measurement.name].append(measurement)
    order = {name: index for index, name in enumerate(METRICS)}
    judged = []
    for name in sorted(by_name, key=lambda n: order.get(n, len(order))):
        limit = limits.get(name, Limit())
        found = [_corrected(one, biases.get(name, 0.0)) for one in by_name[name]]
        judged += [_judge(one, limit.of(one.variant)) for one in found]
    return judged


def judge_percentiles(judged: Iterable[Judged], limits: Limits) -> list[Judged]:
    """Hold the percentiles of all calls of a scenario to their limits.

    Args:
        judged: what `judge` made of the calls; of each metric that has such limits, all values
            count, whichever call or turn they are of.
        limits: by metric.
    """
    by_name: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        if one.statistic is None and one.is_value:
            by_name[one.name].append(one)
    percentiles = []
    for name, limit in limits.items():
        percentiles += _judge_percentiles(by_name[name], limit)
        for variant, own in limit.variants:
            found = [one for one in by_name[name] if one.variant == variant]
            percentiles += _judge_percentiles(found, own, f" ({variant})")
    return percentiles


def _corrected(one: Measurement, bias: float) -> Measurement:
    """The value without the harness's constant error, and a word about that."""
    if not bias:
        return one
    word = f"the harness's bias of {bias:+.1f} {METRICS[one.name].unit} is taken off"
    detail = f"{one.detail}; {word}" if one.detail else word
    return replace(one, value=one.value - bias, detail=detail)


def _judge(one: Measurement, limit: Limit) -> Judged:
    high, bound = limit.high, one.bound
    if limit.above_own is not None and one.own_ms is not None:
        high = one.own_ms + limit.above_own
        if bound is not None and one.own_bound is not None:
            bound = bound + one.own_bound
    value = one.value - (one.taken or NOTHING_TAKEN).least_ms
    nearer, margin = _nearer_limit(value, limit.low, high)
    judged = Judged(
        name=one.name,
        value=value,
        unit=METRICS[one.name].unit,
        verdict="unlimited",
        turn=one.turn,
        limit=nearer,
        low=limit.low,
        high=high,
        margin=margin,
        bound=bound,
        own_ms=one.own_ms,
        variant=one.variant,
        span_ns=one.span_ns,
        taken=one.taken,
        packet_ms=one.packet_ms,
        detail=one.detail or (one.variant or ""),
    )
    decided = _decided(judged)
    doubt_ms = (one.taken or NOTHING_TAKEN).doubt_ms
    if doubt_ms and decided.verdict != "passed":
        at_best = _decided(replace(judged, value=value - doubt_ms))
        if at_best.verdict != decided.verdict:
            return replace(decided, verdict="not measured", reason="machine")
    return decided


def _judge_percentiles(found: list[Judged], limit: Limit, of_what: str = "") -> list[Judged]:
    judged = []
    for statistic, most in limit.percentiles if found else ():
        name = found[0].name
        value = percentile(name, [one.value for one in found], PERCENTILES[statistic])
        floor = METRICS[name].more_is_better
        margin = value - most if floor else most - value
        judged.append(
            Judged(
                name=name,
                value=value,
                unit=found[0].unit,
                verdict="unlimited",
                limit=most,
                low=most if floor else None,
                high=None if floor else most,
                margin=margin,
                bound=_bound_of_percentile(found, value, PERCENTILES[statistic]),
                statistic=statistic,
                detail=f"of {len(found)} value{'' if len(found) == 1 else 's'}{of_what}",
            )
        )
    return [_decided(one) for one in judged]


def _decided(one: Judged) -> Judged:
    """With the verdict that the value and its error bound allow."""
    match one.held:
        case None:
            return one
        case "within":
            return replace(one, verdict="passed")
        case "over":
            return replace(one, verdict="failed")
        case "undecided":
            return replace(one, verdict="not measured", reason="undecided")
        case unknown:
            assert_never(unknown)


def _bound_of_percentile(found: list[Judged], value: float, percent: float) -> ErrorBound | None:
    """How far a percentile may be off, if every value is off by as much as it may, either way."""
    bounds = [one.bound for one in found if one.bound is not None]
    if not bounds:
        return None
    sizes = [one.bound.size if one.bound is not None else 0.0 for one in found]
    name = found[0].name
    size = max(
        abs(percentile(name, moved, percent) - value)
        for moved in (
            [one.value + size for one, size in zip(found, sizes, strict=True)],
            [one.value - size for one, size in zip(found, sizes, strict=True)],
        )
    )
    return ErrorBound(size, max(bounds, key=lambda one: one.size).source)


def _nearer_limit(
    value: float, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    margins = []
    if high is not None:
        margins.append((high - value, high))
    if low is not None:
        margins.append((value - low, low))
    if not margins:
        return None, None
    margin, nearer = min(margins, key=lambda pair: pair[0])
    return nearer, margin


def _known(name: str) -> str:
    if name in METRICS:
        return name
    known = ", ".join(METRICS)
    raise BudgetError(f"no metric is called {name!r}{_hint(name, METRICS)} Known: {known}")


def _hint(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, list(words), 1)
    return f"; did you mean {near[0]}?" if near else "."


def _parse(name: str, value: Any, *, of_variant: bool = False) -> Limit:
    metric = METRICS[name]
    if is_lifted(value):
        return Limit()
    if _is_number(value):
        return _of_number(metric, float(value))
    if not isinstance(value, Mapping) or not value:
        raise BudgetError(
            f"{name}: {value!r}, expected a number ({metric.unit}), `off`, or a mapping of limits"
        )
    known = _bounds_of(metric, of_variant)
    for key in value:
        if key not in known:
            raise BudgetError(
                f"{name}: no limit is called {key!r}{_hint(str(key), known)} "
                f"Known: {', '.join(known)}"
            )
    if ("target" in value) != ("within" in value):
        raise BudgetError(f"{name}: target and within belong together")
    for key, number in value.items():
        if key not in metric.variants and not _is_number(number):
            raise BudgetError(f"{name}: {key}: {number!r}, expected a number")
    low, high = _range(name, value)
    return Limit(
        low=low,
        high=high,
        above_own=value.get("above_own"),
        percentiles=tuple((p, float(value[p])) for p in PERCENTILES if p in value),
        variants=tuple(
            (v, _parse(name, value[v], of_variant=True)) for v in metric.variants if v in value
        ),
    )


def _of_number(metric: Metric, value: float) -> Limit:
    """What a bare number says; of a metric that can be wrong on either side, no less than there."""
    target = metric.budget.get("target") if isinstance(metric.budget, Mapping) else None
    if target is None:
        return Limit(low=value) if metric.more_is_better else Limit(high=value)
    if target != 0 or value < 0:
        raise BudgetError(
            f"{metric.name}: {value:g} {metric.unit} says nothing of the other side: expected "
            f"{{target: {value:g}, within: {metric.budget['within']:g}}}, or {{min: …, max: …}}"
        )
    return Limit(low=-value, high=value)


def _range(name: str, value: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The least and the most that a number may be."""
    low, high = value.get("min"), value.get("max")
    if "target" in value:
        if low is not None or high is not None:
            raise BudgetError(f"{name}: {value!r}, either target and within, or min and max")
        low, high = value["target"] - value["within"], value["target"] + value["within"]
    if low is not None and high is not None and low > high:
        raise BudgetError(f"{name}: {value!r}, no number is at least {low:g} and at most {high:g}")
    return low, high


def _bounds_of(metric: Metric, of_variant: bool) -> tuple[str, ...]:
    """The words that a limit of a metric, or of a variant of it, is made of."""
    return (
        *(bound for bound in _BOUNDS if bound != "above_own" or metric.own_delay),
        *PERCENTILES,
        *(() if of_variant else metric.variants),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
