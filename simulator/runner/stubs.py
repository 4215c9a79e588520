"""Functions called as they must not be in a scenario: a failure, unless the scenario expects it.

A script's model goes on whatever a function answers. So a call whose arguments do not fit, or that
meant a real function, would pass, and show nothing.
"""

from collections.abc import Sequence

from callerside.marks import Mark
from callerside.simulator.scenario.model import Scenario

_REFUSED = "stub_refused"


def judge_stubs(scenario: Scenario, marks: Sequence[Mark]) -> list[str]:
    """A sentence for each of them, which fails the call.

    Args:
        scenario: what was played; what it expects (`{mark: stub_refused}`) is no failure.
        marks: of all parties.
    """
    return [
        f"{mark.fields['name']} was refused: {mark.fields['reason']}"
        for mark in marks
        if mark.name == _REFUSED and not any(one.is_told_by(mark) for one in scenario.looked_up)
    ]
