"""The sounds of keys: two tones each (ITU-T Q.23)."""

import numpy as np

from callerside.audio import silence, to_bytes, to_samples, tone

TONE_MS = 100
_PAUSE_MS = 60
_LEVEL_DBFS = -15.0

_ROWS_HZ = (697, 770, 852, 941)
_COLUMNS_HZ = (1209, 1336, 1477, 1633)
_KEYS = ("123A", "456B", "789C", "*0#D")

TONES_HZ = {
    key: (row_hz, column_hz)
    for row_hz, keys in zip(_ROWS_HZ, _KEYS, strict=True)
    for column_hz, key in zip(_COLUMNS_HZ, keys, strict=True)
}
"""Row and column frequency of each key."""


def dtmf(keys: str, rate_hz: int) -> bytes:
    """Keys one after the other, with pauses between them, as PCM."""
    return silence(_PAUSE_MS, rate_hz).join(key_tone(key, rate_hz) for key in keys)


def key_tone(key: str, rate_hz: int) -> bytes:
    """One of `TONES_HZ`, `TONE_MS` long, as PCM."""
    row, column = (
        to_samples(tone(hz, TONE_MS, rate_hz, level_dbfs=_LEVEL_DBFS)).astype(np.int32)
        for hz in TONES_HZ[key]
    )
    return to_bytes(row + column)
