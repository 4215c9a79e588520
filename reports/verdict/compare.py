"""Two runs beside each other: per metric the difference, how sure it is, and a verdict.

The difference of a metric is the mean, over everything that both runs measured (a scenario's turn,
or the scenario), of the later run's mean less the earlier one's. Its 95 % interval comes from the
bootstrap: calls of the same scenario are drawn again, with replacement, in both runs; where no
scenario was repeated, scenarios and turns are drawn instead. For a metric that should hit a target
(a beep of 440 Hz) the distance from the target is compared.

Runs of the same agent differ, too: what stops a release must be worse surely, by more than is
tolerated, and by more than the harness may err.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from callerside.reports.metrics.registry import METRICS, TOLERANCE
from callerside.reports.verdict.budget import default_limits

Verdict = Literal["better", "worse", "no difference seen", "too few to tell"]

_ROUNDS = 2000
_MOST_NAMED = 10
_LOW_PERCENT, _HIGH_PERCENT = 2.5, 97.5
_NOISE = 1e-6

Cell = tuple[str, int | None]
"""A scenario, and the turn if the metric has turns."""
Values = dict[Cell, list[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What became of one metric."""

    name: str
    unit: str
    before: float
    after: float
    difference: float
    low: float
    """The difference's 95 % interval."""
    high: float
    count: int
    """Values of the later run that went into it."""
    by: Literal["repeats", "scenarios", "nothing"]
    """What the bootstrap drew from."""
    verdict: Verdict
    tolerance: float | None
    """What had to be exceeded: what is tolerated, or the harness's own error; None: nothing can."""
    regression: bool
    """Worse, surely, and by more than that."""


def compare(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    tolerance: float = TOLERANCE,
    tolerances: Mapping[str, float] | None = None,
    seed: int = 0,
) -> list[Change]:
    """Every metric that both results (contents of `results.json`) have, in the budget's order.

    Args:
        before: the earlier run.
        after: the later one.
        tolerance: by how much a metric may get worse that has no tolerance of its own.
        tolerances: for single metrics, instead of what the registry says.
        seed: of the bootstrap.
    """
    errors = _errors(before), _errors(after)
    earlier, later = _values(before), _values(after)
    changes = []
    for name in METRICS:
        cells = sorted(
            earlier.get(name, {}).keys() & later.get(name, {}).keys(),
            key=lambda c: (c[0], c[1] or 0),
        )
        if cells:
            one, other = ({cell: runs[name][cell] for cell in cells} for runs in (earlier, later))
            rng = np.random.default_rng(seed)
            limit = _tolerance(name, tolerance, tolerances or {})
            if limit is not None:
                limit = max(limit, *(error.get(name, 0.0) for error in errors))
            changes.append(_change(name, one, other, limit, rng))
    return changes


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
        went_wrong = scenario.get("verdict") in ("failed", "error")
        fates[name] = fates.get(name, True) and not went_wrong
    return fates


def _values(results: Mapping[str, Any]) -> dict[str, Values]:
    found: dict[str, Values] = defaultdict(lambda: defaultdict(list))
    for scenario in results["scenarios"]:
        for metric in scenario["metrics"]:
            if "statistic" not in metric and metric.get("reason") != "machine":
                cell = scenario["name"], metric["turn"]
                found[metric["name"]][cell].append(float(metric["value"]))
    return found


def _errors(results: Mapping[str, Any]) -> dict[str, float]:
    """The harness's own error (p95) by metric; a virtual call has none of it."""
    run = results.get("run", {})
    calibration = None if run.get("lane") == "virtual" else run.get("calibration")
    return {one["name"]: float(one["p95"]) for one in (calibration or {}).get("metrics", ())}


def _change(
    name: str, before: Values, after: Values, tolerance: float | None, rng: np.random.Generator
) -> Change:
    one, other = _badness(name, before), _badness(name, after)
    difference = _mean(other) - _mean(one)
    low, high, by = _interval(one, other, difference, rng)
    verdict = _verdict(low, high, by)
    return Change(
        name=name,
        unit=METRICS[name].unit,
        before=_mean(before),
        after=_mean(after),
        difference=difference,
        low=low,
        high=high,
        count=sum(map(len, after.values())),
        by=by,
        verdict=verdict,
        tolerance=tolerance,
        regression=verdict == "worse" and tolerance is not None and difference > tolerance,
    )


def _interval(
    before: Values, after: Values, difference: float, rng: np.random.Generator
) -> tuple[float, float, Literal["repeats", "scenarios", "nothing"]]:
    if all(len(v) > 1 for v in (*before.values(), *after.values())):
        drawn = _draw(after.values(), rng) - _draw(before.values(), rng)
        return *_percentiles(drawn), "repeats"
    if len(before) > 1:
        differences = np.array([np.mean(after[c]) - np.mean(before[c]) for c in before])
        picks = rng.integers(0, differences.size, (_ROUNDS, differences.size))
        return *_percentiles(differences[picks].mean(axis=1)), "scenarios"
    return difference, difference, "nothing"


def _draw(cells: Iterable[Sequence[float]], rng: np.random.Generator) -> NDArray[np.float64]:
    """Means over all cells, each cell's values drawn anew, `_ROUNDS` times."""
    total = np.zeros(_ROUNDS)
    count = 0
    for values in cells:
        array = np.asarray(values, float)
        total += array[rng.integers(0, array.size, (_ROUNDS, array.size))].mean(axis=1)
        count += 1
    result: NDArray[np.float64] = total / count
    return result


def _percentiles(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(drawn, (_LOW_PERCENT, _HIGH_PERCENT))
    return float(low), float(high)


def _verdict(low: float, high: float, by: str) -> Verdict:
    if by == "nothing":
        return "too few to tell"
    if low > _NOISE:
        return "worse"
    return "better" if high < -_NOISE else "no difference seen"


def _mean(cells: Values) -> float:
    return float(np.mean([np.mean(values) for values in cells.values()]))


def _badness(name: str, cells: Values) -> Values:
    """The values such that less is better: for a metric with a target, the distance from it."""
    if METRICS[name].more_is_better:
        return {cell: [-value for value in values] for cell, values in cells.items()}
    limit = default_limits().get(name)
    if limit is None or limit.low is None or limit.high is None:
        return cells
    target = (limit.low + limit.high) / 2
    return {cell: [abs(value - target) for value in values] for cell, values in cells.items()}
