"""The agent's own ear: speech from espeak's kind of levels, noise, clicks, and where they begin."""

import numpy as np
import pytest

from callerside.agent.call.vad import VoiceDetector, VoiceStarted, VoiceStopped
from callerside.agent.config.settings import LocalVadSettings
from callerside.audio import to_bytes

RATE_HZ = 24_000


def sound(length_ms: int, dbfs: float, seed: int = 1) -> bytes:
    """Noise at a level: the detector looks at energy only."""
    rng = np.random.default_rng(seed)
    count = length_ms * RATE_HZ // 1000
    return to_bytes(rng.standard_normal(count) * 32768 * 10 ** (dbfs / 20))


def detect(pcm: bytes, **settings: int) -> list[VoiceStarted | VoiceStopped]:
    detector = VoiceDetector(LocalVadSettings.model_validate(settings))
    frames = [pcm[start : start + 960] for start in range(0, len(pcm), 960)]
    return [heard for frame in frames if (heard := detector.feed(frame)) is not None]


@pytest.mark.parametrize("noise_dbfs", [-90, -65, -50])
def test_speech_is_found_where_it_is(noise_dbfs: float) -> None:
    line = sound(1000, noise_dbfs) + sound(800, -20) + sound(1000, noise_dbfs)
    assert detect(line) == [VoiceStarted(at_ms=1000), VoiceStopped(at_ms=1800 + 400)]


def test_a_pause_inside_a_sentence_does_not_end_the_turn() -> None:
    line = sound(500, -60) + sound(600, -20) + sound(380, -60) + sound(600, -20) + sound(600, -60)
    assert detect(line) == [VoiceStarted(at_ms=500), VoiceStopped(at_ms=500 + 1580 + 400)]


def test_a_click_is_not_speech() -> None:
    assert detect(sound(500, -60) + sound(40, -10) + sound(500, -60)) == []


def test_speech_below_the_threshold_is_not_heard() -> None:
    assert detect(sound(500, -90) + sound(800, -50) + sound(500, -90)) == []


def test_a_loud_line_is_learnt() -> None:
    line = sound(500, -60) + sound(6000, -35)
    heard = detect(line)
    assert heard[:1] == [VoiceStarted(at_ms=500)]
    assert isinstance(heard[1], VoiceStopped), "it is the line, not a voice"
    assert len(heard) == 2


def test_the_silence_that_ends_a_turn_is_a_setting() -> None:
    line = sound(500, -60) + sound(600, -20) + sound(1200, -60)
    assert detect(line, silence_duration_ms=1000)[-1] == VoiceStopped(at_ms=1100 + 1000)


def test_a_reset_forgets_the_turn() -> None:
    detector = VoiceDetector(LocalVadSettings())
    for frame in range(30):
        detector.feed(sound(20, -60, frame))
    for frame in range(10):
        detector.feed(sound(20, -20, frame))
    assert detector.speaking
    detector.reset()
    assert not detector.speaking
