"""Whoever the agent calls to hand a caller over: on a line in memory."""

from callerside.agent.telephony.interface import CallAnswered, CallReceived, LegInput
from callerside.clock import ms_to_ns
from callerside.simulator.lanes.virtual.clock import VirtualClock
from callerside.simulator.lanes.virtual.leg import VirtualLeg
from callerside.simulator.scenario.model import Target

_RINGING, _OK = 180, 200


def answer_as(target: Target, clock: VirtualClock, leg: VirtualLeg) -> None:
    """Take a call as a scenario says; see `VirtualLine.on_call`."""

    def later(after_ms: float, leave: bool) -> None:
        act = leg.hang_up if leave else lambda: leg.answer(target.refuses or _OK)
        clock.call_at(clock.now_ns() + ms_to_ns(after_ms), act)

    def take(event: LegInput) -> None:
        if isinstance(event, CallReceived):
            leg.answer(_RINGING)
            later(target.answers_after, leave=False)
        elif isinstance(event, CallAnswered) and target.hangs_up_after is not None:
            later(target.hangs_up_after, leave=True)

    leg.start(take)
