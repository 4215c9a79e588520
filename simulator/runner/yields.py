"""Which metrics a scenario's calls have, if anything can be measured.

A run in which none of the calls that should yield a metric has it has measured too little: a
harness that is deaf, or an agent that says nothing of itself, passes no budget. What a scenario may
or may not yield (a second answer, a loss) is not named here.
"""

from collections.abc import Iterator

from callerside.reports.metrics.registry import METRICS
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Expect, Say

_HEARD = frozenset({"beep", "greeting", "reply"})


def should_yield(scenario: Scenario, *, ours: bool = True) -> list[str]:
    """Names of metrics, in the registry's order; none on a network that may lose them.

    Args:
        scenario: what is played.
        ours: whether the agent is ours, and its marks are there.
    """
    if scenario.network is not None:
        return []
    names = set(_heard(scenario)) | (set(_told(scenario)) if ours else set())
    return [name for name in METRICS if name in names]


def _heard(scenario: Scenario) -> Iterator[str]:
    expected = _expected(scenario)
    if expected & {"answer", *_HEARD}:
        yield "answer_ms"
    if "beep" in expected:
        yield from ("beep_ms", "beep_hz")
    if "greeting" in expected:
        yield "greeting_ms"
    if _is_answered(scenario):
        yield "turn_ms"


def _told(scenario: Scenario) -> Iterator[str]:
    if _expected(scenario) & _HEARD:
        yield "media_ready_ms"
    if _is_answered(scenario):
        yield "agent_overhead_ms"


def _expected(scenario: Scenario) -> set[str]:
    return {
        step.expect
        for step in scenario.steps
        if isinstance(step, Expect) and isinstance(step.expect, str)
    }


def _is_answered(scenario: Scenario) -> bool:
    """Whether a spoken turn, said in silence, is answered to its end."""
    for say, reply in zip(scenario.steps, scenario.steps[1:], strict=False):
        is_turn = isinstance(say, Say) and say.when is None
        if is_turn and isinstance(reply, Expect) and reply.expect == "reply":
            return True
    return False
