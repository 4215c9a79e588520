"""What only all calls of a scenario together tell: whether percentiles are within their limits.

A scenario with `repeat` or `callers` is many calls, and a limit such as `p95: 800` is for their
values together. It is judged when the last of them is over, and stands with that one.
"""

from collections.abc import Sequence
from dataclasses import replace

from reports.results import CallResult, judge_together
from simulator.evaluate import Evaluated
from simulator.vouching import VOUCHED_LAG_MS, disturbance


def evaluate_together(calls: Sequence[Evaluated]) -> list[Evaluated]:
    """The calls of a run, with limits of percentiles judged over all calls of each scenario.

    Where they are not kept and the machine stood still in one of the calls, that is an error of the
    run: nobody knows whose fault it is.
    """
    judged = iter(judge_together([call.result for call in calls if call.result is not None]))
    together = []
    for call in calls:
        result = next(judged) if call.result is not None else None
        if result is None or result.verdict == call.verdict:
            as_it_was = call.has_page and result is call.result
            together.append(replace(call, result=result, has_page=as_it_was))
            continue
        these = [c for c in calls if c.stage.scenario.name == call.stage.scenario.name]
        worst_ms = max(disturbance(c).worst_ms for c in these)
        together.append(_with_verdict(call, result, worst_ms))
    return together


def _with_verdict(call: Evaluated, result: CallResult, worst_ms: float) -> Evaluated:
    unmeasured = worst_ms > VOUCHED_LAG_MS
    if unmeasured:
        sentence = (
            f"not measured: this machine stood still for up to {worst_ms:.0f} ms in these calls "
            f"(trusted: {VOUCHED_LAG_MS:.0f} ms). They were {result.detail}"
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
