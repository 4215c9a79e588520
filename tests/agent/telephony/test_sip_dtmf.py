"""Key presses as sound carry their two tones, and nothing that is not on the keypad."""

import numpy as np
import pytest

from callerside.agent.telephony import dtmf
from callerside.audio import level_dbfs, to_samples
from callerside.clock import NS_PER_MS
from callerside.speech import dtmf_tones

RATE_HZ = 16_000


@pytest.mark.parametrize("digit", sorted(dtmf.DIGITS))
def test_each_key_has_its_two_tones(digit: str) -> None:
    samples = to_samples(dtmf.tones(digit, RATE_HZ))
    press = samples[: RATE_HZ * dtmf_tones.TONE_MS // 1000].astype(float)
    spectrum = np.abs(np.fft.rfft(press * np.hanning(len(press)), RATE_HZ))
    low = 600 + int(spectrum[600:1_050].argmax())
    high = 1_150 + int(spectrum[1_150:1_700].argmax())
    assert [low, high] == pytest.approx(list(dtmf_tones.TONES_HZ[digit]), rel=0.015)


def test_keys_are_apart_and_do_not_clip() -> None:
    samples = to_samples(dtmf.tones("12", RATE_HZ))
    length = RATE_HZ * (dtmf_tones.TONE_MS + dtmf.PAUSE_MS) // 1000
    assert len(samples) == 2 * length
    assert level_dbfs(samples[length - RATE_HZ // 20 : length]) == -120
    assert np.abs(samples.astype(int)).max() < 32_000


def test_keys_go_out_one_by_one() -> None:
    keys = dtmf.PacedKeys()
    assert keys.press("12") == ""
    sent = [(ms, keys.due(ms * NS_PER_MS)) for ms in range(1_000, 1_500, 10)]
    assert [one for one in sent if one[1]] == [(1_000, "1"), (1_200, "2")]
    keys.press("3")
    assert keys.due(2_000 * NS_PER_MS) == "3"


def test_keys_that_find_no_room_are_told() -> None:
    assert dtmf.PacedKeys().press("1" * dtmf.MOST_WAITING + "23") == "23"


def test_what_is_not_on_the_keypad_is_refused() -> None:
    with pytest.raises(ValueError, match="not on the keypad: 'xy'"):
        dtmf.tones("1yx2", RATE_HZ)
