"""What only all calls of a scenario together tell: whether percentiles are within their limits.

A scenario with `repeat` or `callers` is many calls, and a limit such as `p95: 800` is for their
values together. It is judged when the last of them is over, and stands with that one.
"""

from collections.abc import Sequence
from dataclasses import replace

from reports.results import CallResult, judge_together
from simulator.evaluate import Evaluated
from simulator.playing import VOUCHED_LAG_MS, lag_ms


def evaluate_together(calls: Sequence[Evaluated]) -> list[Evaluated]:
    """The calls of a run, with limits of percentiles judged over all calls of each scenario.

    Where they are not kept and the harness itself was late in one of the calls, that is an error
    of the run: nobody knows whose fault it is.
    """
    judged = iter(judge_together([call.result for call in calls if call.result is not None]))
    together = []
    for call in calls:
        result = next(judged) if call.result is not None else None
        if result is None or result.verdict == call.verdict:
            together.append(replace(call, result=result))
            continue
        lags = [lag_ms(c) for c in calls if c.stage.scenario.name == call.stage.scenario.name]
        together.append(_with_verdict(call, result, max(lags)))
    return together


def _with_verdict(call: Evaluated, result: CallResult, worst_lag_ms: float) -> Evaluated:
    if worst_lag_ms > VOUCHED_LAG_MS:
        sentence = (
            f"not measured: the harness itself was up to {worst_lag_ms:.0f} ms late in these calls "
            f"(trusted: {VOUCHED_LAG_MS:.0f} ms). They were {result.detail}"
        )
        result = replace(result, verdict="error", detail=sentence)
    return replace(call, result=result, verdict=result.verdict, sentence=result.detail)
