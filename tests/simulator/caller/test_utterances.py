"""The caller's phrases, made ready: they end mid-frame, and nothing of them is lost."""

import pytest

from callerside.agent.telephony.interface import FRAME_MS
from callerside.audio import silence, to_samples
from callerside.reports.hearing.detector import SpeechEnded, listened
from callerside.simulator.caller.audio.utterances import end_mid_frame
from callerside.speech.synthesis import synthesise


@pytest.mark.parametrize("text", ["Yes.", "What time do you open on Saturday?"])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000])
def test_a_phrase_ends_in_the_middle_of_a_frame(text: str, rate_hz: int) -> None:
    pcm = synthesise(text, rate_hz=rate_hz)
    ready = end_mid_frame(pcm, rate_hz)
    assert ready.endswith(pcm)
    assert len(ready) - len(pcm) < 2 * rate_hz * FRAME_MS // 1000
    ended = listened(to_samples(ready), rate_hz)[-1]
    assert isinstance(ended, SpeechEnded)
    end = ended.sample
    position_ms = end % (rate_hz * FRAME_MS // 1000) / rate_hz * 1000
    # Where a phrase ends is heard to some milliseconds only, and the shift moves that.
    assert position_ms == pytest.approx(FRAME_MS / 2, abs=4)


def test_silence_stays_as_it_is() -> None:
    assert end_mid_frame(silence(200, 8_000), 8_000) == silence(200, 8_000)
