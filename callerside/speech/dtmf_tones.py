"""The sounds of keys: two tones each (ITU-T Q.23)."""

import numpy as np

from callerside.audio import silence, to_bytes, to_samples, tone

_DTMF_ROWS_HZ = (697, 770, 852, 941)  # ITU-T Q.23


_DTMF_COLUMNS_HZ = (1209, 1336, 1477, 1633)


_DTMF_KEYS = "123A456B789C*0#D"


_DTMF_TONE_MS, _DTMF_PAUSE_MS = 100, 60


_DTMF_LEVEL_DBFS = -15.0


def dtmf(keys: str, rate_hz: int) -> bytes:
    """Keys as pairs of tones (ITU-T Q.23), 100 ms each."""
    pause = silence(_DTMF_PAUSE_MS, rate_hz)
    return pause.join(_key_tone(key, rate_hz) for key in keys)


def _key_tone(key: str, rate_hz: int) -> bytes:
    row, column = divmod(_DTMF_KEYS.index(key), 4)
    tones = [
        to_samples(tone(hz, _DTMF_TONE_MS, rate_hz, level_dbfs=_DTMF_LEVEL_DBFS)).astype(np.int32)
        for hz in (_DTMF_ROWS_HZ[row], _DTMF_COLUMNS_HZ[column])
    ]
    return to_bytes(tones[0] + tones[1])
