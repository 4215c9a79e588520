"""Whether a call is worth a second attempt, alone and in calm.

Behaviour is never excused. A call in which something did not come is placed once more only where
the machine stood still within the failing step for as long as what was missing: a reply that was
40 ms late in a step in which 50 ms were taken; a reply that did not come at all in 3 s is not
explained by 17 ms. What happened and must not, and whatever went wrong outside of a step, is
believed at once.

A time that could not be measured is measured once more.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from callerside.clock import ms_to_ns, ns_to_ms
from callerside.marks import Mark
from callerside.reports.verdict.machine import disturbance
from callerside.simulator.runner.evaluate import Evaluated
from callerside.simulator.runner.expectations_after import last_turn_ns, occurrences, step_ns
from callerside.simulator.scenario.expectations import LookedUp, Silence
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Expect

_STEP = re.compile(r"step (\d+): ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """What a step waited for and did not get in time."""

    start_ns: int
    end_ns: int
    """The time in which it should have come."""
    length_ms: float
    """By how much it came too late; the whole time where it did not come at all."""


def is_worth_an_attempt(call: Evaluated) -> bool:
    """Whether a call that was played for the first time is to be placed once more."""
    result = call.result
    if result is None or call.verdict in ("passed", "error"):
        return False
    marks = result.evidence.marks
    if result.behaviour.verdict == "failed":
        missing = what_is_missing(call.planned.scenario, marks, result.behaviour.detail)
        if missing is None:
            return False
        within_ns = missing.start_ns, missing.end_ns
        return disturbance(marks).stood_ms(within_ns) >= missing.length_ms
    return any(one.verdict == "not measured" for one in result.judged) and (
        result.timing.verdict == "not measured"
    )


def what_is_missing(scenario: Scenario, marks: Sequence[Mark], detail: str) -> Missing | None:
    """What the first step that failed had waited for; None where no step complains of that.

    Args:
        scenario: what was played.
        marks: of all parties, in order of time.
        detail: what is said of the failure.
    """
    said = _STEP.match(detail)
    if said is None:
        return None
    number = int(said[1]) - 1
    step = scenario.all_steps[number]
    begun_ns, ended_ns = (step_ns(name, number, marks) for name in ("step_started", "step_ended"))
    if begun_ns is None:
        return None
    limit_ms = step.within if step.within is not None else scenario.caller.patience
    if isinstance(step, Expect) and isinstance(step.expect, LookedUp):
        start_ns = last_turn_ns(begun_ns, marks)
        end_ns = deadline_ns = (ended_ns or begun_ns) + ms_to_ns(limit_ms)
    else:
        start_ns, end_ns = begun_ns, ended_ns or marks[-1].at_ns
        deadline_ns = start_ns + ms_to_ns(limit_ms) if step.when is None else end_ns
    late_ms = limit_ms
    if isinstance(step, Expect) and not isinstance(step.expect, Silence):
        found = occurrences(step.expect, marks, greets=scenario.greets)
        late_ms = min(
            (ns_to_ms(at_ns - deadline_ns) for at_ns in found if at_ns > deadline_ns),
            default=limit_ms,
        )
    return Missing(start_ns=start_ns, end_ns=end_ns, length_ms=late_ms)
