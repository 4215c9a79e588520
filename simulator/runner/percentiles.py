"""What only all calls of a scenario together show: whether percentiles are within their limits.

A scenario with `repeat` or `callers` is many calls, and a limit such as `p95: 800` is for their
values together. It is judged when the last of them is over, and stands with that one.
"""

from collections.abc import Sequence
from dataclasses import replace

from callerside.reports.verdict.results import CallResult, judge_together
from callerside.simulator.runner.confidence import Disturbance, disturbance, is_explained
from callerside.simulator.runner.evaluate import Evaluated


def evaluate_together(calls: Sequence[Evaluated]) -> list[Evaluated]:
    """The calls of a run, with limits of percentiles judged over all calls of each scenario.

    Where they are not kept, and what disturbed one of the calls explains by how much, that is an
    error of the run: nobody knows whose fault it is.
    """
    judged = iter(judge_together([call.result for call in calls if call.result is not None]))
    together = []
    for call in calls:
        result = next(judged) if call.result is not None else None
        if result is None or result.verdict == call.verdict:
            as_it_was = call.has_page and result is call.result
            together.append(replace(call, result=result, has_page=as_it_was))
            continue
        these = [c for c in calls if c.planned.scenario.name == call.planned.scenario.name]
        worst = max((disturbance(c) for c in these), key=lambda one: one.explains_ms)
        together.append(_with_verdict(call, result, worst))
    return together


def _with_verdict(call: Evaluated, result: CallResult, worst: Disturbance) -> Evaluated:
    of_all = [one for one in result.judged if one.statistic is not None]
    unmeasured = is_explained(of_all, worst.explains_ms)
    if unmeasured:
        sentence = (
            f"not measured: this machine stood still for {worst.total_ms:.0f} ms in one of these "
            f"calls, which explains it. They were {result.detail}"
        )
        result = replace(result, verdict="error", detail=sentence)
    return replace(
        call,
        result=result,
        verdict=result.verdict,
        sentence=result.detail,
        has_page=False,
        unmeasured=unmeasured,
    )
