"""The caller's phrases, made ready: they end mid-frame, and nothing of them is lost."""

import pytest

from callerside.agent.telephony.interface import FRAME_MS
from callerside.audio import silence, to_samples
from callerside.reports.hearing import active_level
from callerside.simulator.caller.audio.utterances import end_mid_frame
from callerside.speech.synthesis import synthesise


@pytest.mark.parametrize("text", ["Yes.", "What time do you open on Saturday?"])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000])
def test_a_phrase_ends_in_the_middle_of_a_frame(text: str, rate_hz: int) -> None:
    pcm = synthesise(text, rate_hz=rate_hz)
    ready = end_mid_frame(pcm, rate_hz)
    assert ready.endswith(pcm)
    frame = rate_hz * FRAME_MS // 1000
    assert len(ready) - len(pcm) < 2 * frame
    edges = active_level.edges(to_samples(ready), rate_hz)
    assert edges is not None
    assert edges[1] % frame == pytest.approx(frame / 2, abs=1)


def test_silence_stays_as_it_is() -> None:
    assert end_mid_frame(silence(200, 8_000), 8_000) == silence(200, 8_000)
