"""A trace of the call machine: every input and every effect, in order, for those who judge it.

Marks say what the agent thinks it did. The trace says what it really asked for, so that the
invariants (`simulator.lanes.virtual.invariants`) do not have to take its word.
"""

from typing import Any, NamedTuple

from callerside.agent.call.events import CallInput, Effect
from callerside.agent.call.machine import CallMachine


class Step(NamedTuple):
    """One input and what the machine answered; a tuple, as there are a hundred a second."""

    at_ns: int
    given: CallInput
    effects: list[Effect]


class TracedMachine(CallMachine):
    """A call machine that leaves a trace."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.trace: list[Step] = []

    def handle(self, event: CallInput, now_ns: int) -> list[Effect]:
        """See `CallMachine.handle`."""
        effects = super().handle(event, now_ns)
        self.trace.append(Step(now_ns, event, effects))
        return effects
