"""What was lost goes on as the voice did, for a while, and is exactly as long as it was."""

import numpy as np
import pytest

from callerside.agent.telephony.media.concealment import Concealer
from callerside.audio import level_dbfs, to_bytes, to_samples, tone

RATE_HZ = 8_000


def voiced(seconds: float, pitch_hz: float = 120) -> bytes:
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return to_bytes(
        np.sum([4_000 / n * np.sin(2 * np.pi * n * pitch_hz * at) for n in range(1, 6)], 0)
    )


@pytest.mark.parametrize("pitch_hz", [80, 120, 233, 390])
def test_the_voice_goes_on(pitch_hz: float) -> None:
    sound = voiced(0.3, pitch_hz)
    concealer = Concealer(RATE_HZ)
    concealer.hear(sound[:3_200])
    filled = to_samples(concealer.fill(80)).astype(float)
    truth = to_samples(sound[3_200:3_360]).astype(float)
    assert np.corrcoef(filled, truth)[0, 1] > 0.9


def test_it_fades_to_silence_and_is_as_long_as_asked_for() -> None:
    concealer = Concealer(RATE_HZ)
    concealer.hear(tone(200, 100, RATE_HZ))
    parts = [to_samples(concealer.fill(160)) for _ in range(5)]
    assert [len(part) for part in parts] == [160] * 5
    levels = [level_dbfs(part) for part in parts[:3]]
    assert levels[0] > levels[1] > levels[2]
    assert not np.any(parts[3])


def test_of_silence_there_is_silence_and_before_anything_too() -> None:
    concealer = Concealer(RATE_HZ)
    assert not np.any(to_samples(concealer.fill(160)))
    concealer.hear(bytes(3_200))
    assert concealer.fill(160) == bytes(320)


def test_what_comes_again_begins_anew() -> None:
    concealer = Concealer(RATE_HZ)
    concealer.hear(tone(200, 100, RATE_HZ))
    concealer.fill(800)
    concealer.hear(tone(200, 100, RATE_HZ))
    assert level_dbfs(to_samples(concealer.fill(160))) > -25
