"""What only all calls of a scenario together show: whether percentiles are within their limits.

A scenario with `repeat` or `callers` is many calls, and a limit such as `p95: 800` is for their
values together. It is judged when the last of them is over, and stands with that one.
"""

from collections.abc import Sequence
from dataclasses import replace

from callerside.reports.verdict.call_result import judge_together
from callerside.simulator.runner.evaluate import Evaluated


def evaluate_together(calls: Sequence[Evaluated]) -> list[Evaluated]:
    """The calls of a run, with limits of percentiles judged over all calls of each scenario."""
    judged = iter(judge_together([call.result for call in calls if call.result is not None]))
    together = []
    for call in calls:
        result = next(judged) if call.result is not None else None
        if result is None or result is call.result:
            together.append(call)
            continue
        together.append(replace(call, result=result, sentence=result.detail, has_page=False))
    return together
