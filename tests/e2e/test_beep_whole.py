"""A beep of 400 ms is heard whole, from its first sample to its last, in every call.

`CALLERSIDE_BEEPS` says in how many; `nox -s soak` plays 200.
"""

import os

import numpy as np
import pytest
from sip_rig import Phone, answer_at_once, open_phone, wait_until

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallLeg,
    FramePlayed,
    HungUp,
    LegInput,
    MediaReady,
)
from callerside.agent.telephony.options import SipOptions
from callerside.audio import to_samples, tone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CALLS = int(os.environ.get("CALLERSIDE_BEEPS", "8"))
AT_ONCE = 4
BEEP_MS, FRAME_MS = 400, 20
LOUD = 300


def beep_at_once(leg: CallLeg, item: LegInput) -> None:
    answer_at_once(leg, item)
    if isinstance(item, MediaReady):
        leg.play(tone(440, BEEP_MS, leg.sample_rate_hz))


@pytest.mark.parametrize("codec", ["PCMU", "G722"])
@pytest.mark.parametrize("engine", PROFILES)
def test_every_frame_of_it_is_heard(engine: EngineName, codec: str) -> None:
    """As it came in, so that no packet that the machine made late counts.

    Nor does the silence that is told for a machine that sent nothing for a while.
    """
    options = SipOptions(sample_rate_hz=None)
    with (
        open_phone("agent", options, beep_at_once, engine=engine) as agent,
        open_phone("caller") as caller,
    ):
        heard_ms: list[float] = []
        while len(heard_ms) < CALLS:
            heard_ms += _heard_ms(agent, caller, codec)
    assert heard_ms == [pytest.approx(BEEP_MS, abs=5)] * len(heard_ms)


def _heard_ms(agent: Phone, caller: Phone, codec: str) -> list[float]:
    """In so many calls at once: nobody hangs up before it has left."""
    uri = f"sip:100@127.0.0.1:{agent.port}"
    called = range(agent.calls(), agent.calls() + AT_ONCE)
    calls = [caller.dial(uri, codec=codec) for _ in range(AT_ONCE)]
    wait_until(lambda: all(_left_ms(agent, call) >= BEEP_MS for call in called), "all beeps")
    for call in calls:
        caller.wait_for(call, AudioReceived, len(_frames(caller, call)) + 5)
        caller.do(call, "hang_up")
    for call in calls:
        caller.wait_for(call, HungUp)
    return [_loud_ms(caller, call) for call in calls]


def _left_ms(agent: Phone, call: int) -> float:
    played = (t.input for t in agent.told(call) if isinstance(t.input, FramePlayed))
    return FRAME_MS * sum(one.samples > 0 for one in played)


def _frames(caller: Phone, call: int) -> list[bytes]:
    return [t.input.pcm for t in caller.told(call) if isinstance(t.input, AudioReceived)]


def _loud_ms(caller: Phone, call: int) -> float:
    frames = [np.abs(to_samples(pcm).astype(np.int32)) > LOUD for pcm in _frames(caller, call)]
    heard = [frame for frame in frames if frame.mean() > 0.5]  # not the tail of a filter
    loud = np.flatnonzero(np.concatenate(heard)) if heard else np.zeros(0)
    return float(loud[-1] - loud[0]) * 1000 / 16_000 if len(loud) else 0.0
