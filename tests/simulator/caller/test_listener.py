"""What the caller makes of what it hears, frame by frame."""

import pytest
from hand_played import RATE_HZ
from synthetic_call import speech

from callerside.agent.telephony.interface import FRAME_MS
from callerside.clock import ms_to_ns
from callerside.simulator.caller.listener import Listener

FRAME_BYTES = RATE_HZ * FRAME_MS // 1000 * 2


@pytest.mark.parametrize(("ended_ms", "cut"), [(900, True), (1300, False)])
def test_what_is_heard_ahead_of_the_clock_is_no_silence_before_the_end(
    ended_ms: int, cut: bool
) -> None:
    """In memory a piece is heard at once, of which the end of the call takes the rest away."""
    pcm = speech(1000, seed=1, rate_hz=RATE_HZ).tobytes() + bytes(FRAME_BYTES * 20)
    listener = Listener(RATE_HZ, end_silence_ms=700)
    for number in range(len(pcm) // FRAME_BYTES):
        start = number * FRAME_BYTES
        listener.listen(pcm[start : start + FRAME_BYTES], ms_to_ns(number * FRAME_MS))
    listener.line_is_dead(ms_to_ns(ended_ms))
    (utterance,) = listener.utterances
    assert (utterance.cut, utterance.over) == (cut, not cut)
