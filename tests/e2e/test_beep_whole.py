"""A beep of 400 ms is heard whole, from its first sample to its last, in every call."""

import numpy as np
import pytest
from sip_rig import Phone, answer_at_once, open_phone

from callerside.agent.telephony.interface import AudioReceived, CallLeg, LegInput, MediaReady
from callerside.agent.telephony.options import SipOptions
from callerside.audio import to_samples, tone

pytestmark = pytest.mark.e2e

CALLS = 8
BEEP_MS, FRAME_MS = 400, 20
LOUD = 300


def beep_at_once(leg: CallLeg, item: LegInput) -> None:
    answer_at_once(leg, item)
    if isinstance(item, MediaReady):
        leg.play(tone(440, BEEP_MS, leg.sample_rate_hz))


@pytest.mark.parametrize("codec", ["PCMU", "G722"])
def test_every_frame_of_it_is_heard(codec: str) -> None:
    """As it came in, so that no packet that the machine made late counts."""
    with (
        open_phone("agent", SipOptions(sample_rate_hz=None), beep_at_once) as agent,
        open_phone("caller") as caller,
    ):
        heard_ms = [_heard_ms(agent, caller, codec) for _ in range(CALLS)]
    assert heard_ms == [pytest.approx(BEEP_MS, abs=5)] * CALLS


def _heard_ms(agent: Phone, caller: Phone, codec: str) -> float:
    call = caller.dial(f"sip:100@127.0.0.1:{agent.port}", codec=codec)
    caller.wait_for(call, AudioReceived, BEEP_MS // FRAME_MS + 10)
    frames = [t.input.pcm for t in caller.told(call) if isinstance(t.input, AudioReceived)]
    caller.do(call, "hang_up")
    samples = to_samples(b"".join(frames)).astype(np.int32)
    loud = np.flatnonzero(np.abs(samples) > LOUD)
    return float(loud[-1] - loud[0]) * 1000 / 16_000 if len(loud) else 0.0
