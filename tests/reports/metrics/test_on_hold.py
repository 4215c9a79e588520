"""What a caller does not hear because it has the agent on hold is no fault of the agent's."""

import numpy as np
import pytest
from made_call import RATE_HZ, MadeCall, at_rate, steady, tone

from callerside.reports.metrics.metrics import Measured, measure

HOLD_MS = 1500.0
INTO_IT_MS = 800


def step(call: MadeCall, at_ms: float, kind: str) -> None:
    call.mark(at_ms, "caller", "step_started", step=0, kind=kind, text=kind)


def held_in_an_answer(*, by_the_caller: bool) -> Measured:
    """Two turns; in the first answer nothing is heard for a while, and then it goes on."""
    call = MadeCall(length_s=16)
    call.set_up(tone(440, 400, -20))
    answer = at_rate(steady(2400, seed=7), RATE_HZ)
    cut = INTO_IT_MS * RATE_HZ // 1000
    hole = np.zeros(round(HOLD_MS * RATE_HZ / 1000))
    heard = np.concatenate([answer[:cut], hole, answer[cut:]])
    ear_ms, over_ms = call.turn(1000, steady(900, seed=5), steady(2400, seed=7), heard=heard)
    if by_the_caller:
        step(call, ear_ms + INTO_IT_MS - 20, "hold")
        step(call, ear_ms + INTO_IT_MS + HOLD_MS - 40, "resume")
        call.mark(ear_ms + INTO_IT_MS + HOLD_MS - 25, "caller", "media_ready", codec="PCMU")
    _, over_ms = call.turn(over_ms + 500, steady(900, seed=5), steady(1200, seed=9))
    call.hang_up(over_ms + 1000)
    return measure(call.evidence())


def test_the_hole_of_a_hold_is_nobodys_and_other_holes_are_the_agents() -> None:
    agents = held_in_an_answer(by_the_caller=False)
    gaps = {one.turn: one.value for one in agents.measurements if one.name == "gap_ms"}
    assert gaps[1] == pytest.approx(HOLD_MS, abs=10)
    callers = held_in_an_answer(by_the_caller=True)
    gaps = {one.turn: one.value for one in callers.measurements if one.name == "gap_ms"}
    assert gaps == {2: pytest.approx(0, abs=1)}
    (why,) = [one for one in callers.unmeasured if one.name == "gap_ms"]
    assert (why.turn, why.reason) == (1, "the caller had the agent on hold meanwhile")


def test_how_long_a_turn_took_outside_of_a_hold_is_measured_all_the_same() -> None:
    without, held = (held_in_an_answer(by_the_caller=one) for one in (False, True))
    turns = [
        {one.turn: one.value for one in found.measurements if one.name == "turn_ms"}
        for found in (without, held)
    ]
    assert turns[0] == turns[1]
    assert set(turns[0]) == {1, 2}


@pytest.mark.parametrize("resumed", [True, False])
def test_a_beep_that_was_waited_for_on_hold_has_no_time(resumed: bool) -> None:
    call = MadeCall(length_s=8)
    call.set_up(None)
    step(call, 130, "hold")
    if resumed:
        step(call, 1900, "resume")
        call.mark(1910, "caller", "media_ready", codec="PCMU")
    call.hears(2050, tone(440, 400, -20))
    call.hang_up(6000)
    found = measure(call.evidence())
    assert not [one for one in found.measurements if one.name == "beep_ms"]
    reasons = {one.name: one.reason for one in found.unmeasured}
    assert reasons["beep_ms"] == "the caller had the agent on hold meanwhile"
    lengths = [one.value for one in found.measurements if one.name == "beep_length_ms"]
    assert lengths == ([pytest.approx(400, abs=3)] if resumed else [])


def test_a_hold_that_waits_for_its_moment_begins_with_that() -> None:
    call = MadeCall(length_s=8)
    call.set_up(tone(440, 400, -20))
    call.mark(20, "caller", "step_started", step=1, kind="hold", text="hold")
    call.mark(3000, "caller", "step_ended", step=1, ok=True)
    call.hang_up(6000)
    found = measure(call.evidence())
    assert [one for one in found.measurements if one.name == "beep_ms"]
