"""Two runs beside each other: per metric the difference, how sure it is, and a verdict.

The difference of a metric is the mean, over everything that both runs measured (a scenario's turn,
or the scenario), of the later run's mean less the earlier one's. For a metric that should hit a
target (a beep of 440 Hz) the distance from the target is compared. How far the difference may be
from that of more calls is Student's, of calls that are independent: what is measured in the turns
of one call is not, and counts as one. The calls of a scenario tell how much calls differ; where it
was not repeated, it is how much the differences of the scenarios do. The variances of few calls
are known badly themselves: they are added with the degrees of freedom that this leaves (Welch,
Satterthwaite).

How long an answer waited for the next packet is chance, and the same for nearly all calls of a run:
one thread paces those of a process. So what `reports.metrics.turn_path.packet_wait_ms` tells of
that is off the values that are compared: of a metric of which both runs tell it for all values, as
an older run tells it of none.

Runs of the same agent differ, too, and of twenty metrics one does surely enough. So what stops a
release must be worse surely among all that are compared (Holm), by more than is tolerated, and by
more than the harness may err.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from math import inf
from statistics import fmean
from typing import Any, Literal, NamedTuple

import numpy as np

from callerside.reports.metrics.registry import METRICS, TOLERANCE
from callerside.reports.verdict.budget import default_limits

Verdict = Literal["better", "worse", "no difference seen", "too few to tell"]

_MOST_NAMED = 10
_DOUBT = 0.05
"""What is surely so is wrong so often; an interval leaves as much out at either end."""
_NOISE = 1e-6

Cell = tuple[str, int | None]
"""A scenario, and the turn if the metric has turns."""
Values = dict[Cell, dict[int, float]]
"""For each cell what its calls gave, by the call's place in its run."""
Basis = Literal["repeats", "scenarios", "nothing"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What became of one metric."""

    name: str
    unit: str
    before: float
    after: float
    difference: float
    low: float
    """The least that it may be, with 95 % certainty; so `low` to `high` is an interval of 90 %."""
    high: float
    """The most that it may be, as certain."""
    count: int
    """Values of the later run that went into it."""
    by: Basis
    """What tells how much calls differ."""
    verdict: Verdict
    tolerance: float | None
    """What had to be exceeded: what is tolerated, or the harness's own error; None: nothing can."""
    doubt: float
    """How likely calls of the same agent are so much worse, by chance."""
    among: int
    """How many metrics could have been as much worse by chance, when this one was judged."""
    regression: bool
    """Worse, surely among all of those, and by more than is tolerated."""

    @property
    def judged(self) -> str:
        """The verdict in words, and why it stops nothing where it is for the worse."""
        if self.regression:
            return f"{self.verdict}, a regression (by more than {self.tolerance:g})"
        if self.verdict != "worse":
            return self.verdict
        if self.tolerance is None or self.difference <= self.tolerance:
            return f"{self.verdict}, as tolerated"
        return f"{self.verdict}, and not surely so among {self.among} metrics"


def compare(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    tolerance: float = TOLERANCE,
    tolerances: Mapping[str, float] | None = None,
) -> list[Change]:
    """Every metric that both results (contents of `results.json`) have, in the budget's order.

    Args:
        before: the earlier run.
        after: the later one.
        tolerance: by how much a metric may get worse that has no tolerance of its own.
        tolerances: for single metrics, instead of what the registry says.
    """
    errors = _errors(before), _errors(after)
    paced = _paced(before) & _paced(after)
    earlier, later = _values(before, paced), _values(after, paced)
    changes = []
    for name in METRICS:
        cells = sorted(
            earlier.get(name, {}).keys() & later.get(name, {}).keys(),
            key=lambda c: (c[0], c[1] or 0),
        )
        if cells:
            one, other = ({cell: runs[name][cell] for cell in cells} for runs in (earlier, later))
            limit = _tolerance(name, tolerance, tolerances or {})
            if limit is not None:
                limit = max(limit, *(error.get(name, 0.0) for error in errors))
            changes.append(_change(name, one, other, limit))
    return _judged_together(changes)


def _tolerance(name: str, common: float, own: Mapping[str, float]) -> float | None:
    """How much worse is no regression of a metric; None: nothing is one."""
    metric = METRICS[name]
    if name in own:
        return own[name]
    if not metric.of_the_agent:
        return None
    return common if metric.tolerance is None else metric.tolerance


def regressions(changes: Sequence[Change]) -> list[Change]:
    """Those that should stop a release."""
    return [change for change in changes if change.regression]


def notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What the numbers do not show: other lanes, scenarios of one run alone, calls that failed."""
    lanes = [run["run"].get("lane", "") for run in (before, after)]
    noted = [f"the lanes differ: {lanes[0]}, then {lanes[1]}"] if lanes[0] != lanes[1] else []
    told = {name for run in (before, after) for name, metric in _measured(run) if _tells(metric)}
    both = {name for name, _ in _measured(before)} & {name for name, _ in _measured(after)}
    unlike = told & both - (_paced(before) & _paced(after))
    if unlike:
        noted.append(
            "not both runs tell for each value how long it waited for a packet, so that is left in "
            f"{', '.join(name for name in METRICS if name in unlike)}"
        )
    earlier, later = _fates(before), _fates(after)
    for names, what in (
        (earlier.keys() - later.keys(), "only in the earlier run, and not compared"),
        (later.keys() - earlier.keys(), "only in the later run, and not compared"),
        (
            {n for n in earlier.keys() & later.keys() if earlier[n] and not later[n]},
            "passed before, and not now",
        ),
    ):
        if names:
            more = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            noted.append(f"{what}: {', '.join(sorted(names)[:_MOST_NAMED])}{more}")
    return noted


def _fates(results: Mapping[str, Any]) -> dict[str, bool]:
    """Every scenario, and whether none of its calls went wrong."""
    fates: dict[str, bool] = {}
    for scenario in results["scenarios"]:
        name = scenario["name"]
        went_wrong = scenario.get("verdict") in ("failed", "known failure", "error")
        fates[name] = fates.get(name, True) and not went_wrong
    return fates


def _values(results: Mapping[str, Any], paced: Collection[str]) -> dict[str, Values]:
    """What was measured, by metric; of those that are `paced` without the wait for a packet."""
    found: dict[str, Values] = defaultdict(lambda: defaultdict(dict))
    for call, scenario in enumerate(results["scenarios"]):
        for name, metric in _measured_in(scenario):
            packet_ms = float(metric["packet_ms"]) if name in paced else 0.0
            cell = scenario["name"], metric["turn"]
            found[name][cell][call] = float(metric["value"]) - packet_ms
    return found


def _paced(results: Mapping[str, Any]) -> set[str]:
    """Metrics of which every value tells how long it waited for a packet."""
    told: dict[str, bool] = {}
    for name, metric in _measured(results):
        told[name] = told.get(name, True) and _tells(metric)
    return {name for name, all_told in told.items() if all_told}


def _tells(metric: Mapping[str, Any]) -> bool:
    return metric.get("packet_ms") is not None


def _measured(results: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What can be compared, each with its metric's name."""
    for scenario in results["scenarios"]:
        yield from _measured_in(scenario)


def _measured_in(scenario: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for metric in scenario["metrics"]:
        if "statistic" not in metric and metric.get("reason") != "machine":
            yield metric["name"], metric


def _errors(results: Mapping[str, Any]) -> dict[str, float]:
    """The harness's own error (p95) by metric; a virtual call has none of it."""
    run = results.get("run", {})
    calibration = None if run.get("lane") == "virtual" else run.get("calibration")
    return {one["name"]: float(one["p95"]) for one in (calibration or {}).get("metrics", ())}


def _change(name: str, before: Values, after: Values, tolerance: float | None) -> Change:
    one, other = _badness(name, before), _badness(name, after)
    difference = _mean(other) - _mean(one)
    spread = _spread(one, other)
    around = _quantile(1 - _DOUBT, spread.freedom) * spread.error
    low, high = difference - around, difference + around
    return Change(
        name=name,
        unit=METRICS[name].unit,
        before=_mean(before),
        after=_mean(after),
        difference=difference,
        low=low,
        high=high,
        count=sum(map(len, after.values())),
        by=spread.by,
        verdict=_verdict(low, high, spread.by),
        tolerance=tolerance,
        doubt=1.0 if spread.by == "nothing" else _doubt(difference, spread),
        among=1,
        regression=False,
    )


def _judged_together(changes: Sequence[Change]) -> list[Change]:
    """With what is a regression: the surest first, each among those that are left (Holm).

    What nothing can make a regression, or nobody can tell, does not count among them.
    """
    asked = [one for one in changes if one.tolerance is not None and one.by != "nothing"]
    judged = {one.name: one for one in changes}
    is_sure = True
    for place, change in enumerate(sorted(asked, key=lambda one: one.doubt)):
        among = len(asked) - place
        is_sure = is_sure and change.verdict == "worse" and change.doubt * among <= _DOUBT
        is_more = change.difference > (change.tolerance or 0.0)
        judged[change.name] = replace(change, among=among, regression=is_sure and is_more)
    return list(judged.values())


class _Spread(NamedTuple):
    """How far a difference may be from the true one: Student's, and so wide."""

    error: float
    """Its standard error."""
    freedom: float
    """The degrees of freedom with which that is known."""
    by: Basis


def _spread(before: Values, after: Values) -> _Spread:
    parts = [*_by_repeats(before), *_by_repeats(after)]
    if all(freedom for _, freedom in parts):
        return _added(parts, "repeats")
    scenarios = list(_by_scenarios(before, after))
    count = len(scenarios)
    if count > 1:
        return _added([(count / (count - 1) * sum(one**2 for one in scenarios), count - 1)])
    return _Spread(0.0, inf, "nothing")


def _added(parts: Sequence[tuple[float, float]], by: Basis = "scenarios") -> _Spread:
    """What is made of several variances, each with its degrees of freedom."""
    whole = sum(variance for variance, _ in parts)
    if not whole:
        return _Spread(0.0, inf, by)
    freedom = whole**2 / sum(variance**2 / freedom for variance, freedom in parts)
    return _Spread(whole**0.5, freedom, by)


def _by_repeats(run: Values) -> Iterator[tuple[float, int]]:
    """The variance of a run's mean, a part for each scenario, with its degrees of freedom.

    A call counts once, with all of its turns: they hang together.
    """
    shares: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for (scenario, _), calls in run.items():
        mean = _mean_of(calls)
        for call, value in calls.items():
            shares[scenario][call] += (value - mean) / len(calls) / len(run)
    for calls in shares.values():
        freedom = len(calls) - 1
        yield sum(one**2 for one in calls.values()) * len(calls) / max(1, freedom), freedom


def _by_scenarios(before: Values, after: Values) -> Iterator[float]:
    """By how much each scenario moves the difference away from where the others have it."""
    mean = _mean(after) - _mean(before)
    moves: dict[str, float] = defaultdict(float)
    for cell in before:
        moved = _mean_of(after[cell]) - _mean_of(before[cell]) - mean
        moves[cell[0]] += moved / len(before)
    yield from moves.values()


_MOST_FREEDOM = 1e4


@cache
def _angles() -> tuple[Any, Any]:
    """The cosines and tangents of angles from -90 to 90 degrees."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 20_001)
    return np.cos(angles), np.tan(angles)


@lru_cache(maxsize=8)
def _student(freedom: float) -> tuple[Any, Any]:
    """Student's distribution: values, and how likely it is to be no larger.

    With t = sqrt(f) tan(a) its density is that of cos(a) to the power of f - 1; without a limit to
    f it is the normal one, which ten thousand degrees are near enough. Each is asked for twice, and
    that without a limit for every metric that does not vary.
    """
    freedom = min(freedom, _MOST_FREEDOM)
    cosines, tangents = _angles()
    density = cosines ** (freedom - 1)
    steps = (density[1:] + density[:-1]) / 2
    upto = np.concatenate([[0.0], np.cumsum(steps)])
    return freedom**0.5 * tangents, upto / upto[-1]


def _quantile(share: float, freedom: float) -> float:
    values, upto = _student(freedom)
    return float(np.interp(share, upto, values))


def _doubt(difference: float, spread: _Spread) -> float:
    """How likely it is to be so large where there is none."""
    if not spread.error:
        return 0.0 if difference > _NOISE else 1.0
    values, upto = _student(spread.freedom)
    return float(1 - np.interp(difference / spread.error, values, upto))


def _verdict(low: float, high: float, by: Basis) -> Verdict:
    if by == "nothing":
        return "too few to tell"
    if low > _NOISE:
        return "worse"
    return "better" if high < -_NOISE else "no difference seen"


def _mean(cells: Values) -> float:
    return fmean([_mean_of(calls) for calls in cells.values()])


def _mean_of(calls: Mapping[int, float]) -> float:
    return fmean(calls.values())


def _badness(name: str, cells: Values) -> Values:
    """The values such that less is better: for a metric with a target, the distance from it."""
    if METRICS[name].more_is_better:
        return _each(cells, lambda value: -value)
    limit = default_limits().get(name)
    if limit is None or limit.low is None or limit.high is None:
        return cells
    target = (limit.low + limit.high) / 2
    return _each(cells, lambda value: abs(value - target))


def _each(run: Values, of: Callable[[float], float]) -> Values:
    return {cell: {call: of(one) for call, one in calls.items()} for cell, calls in run.items()}
