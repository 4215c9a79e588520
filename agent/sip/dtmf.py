"""Key presses as sound: the two tones of each key (ITU-T Q.23), for lines that carry only that."""

import numpy as np

from agent.audio import silence, to_bytes, to_samples, tone

TONE_MS = 100
PAUSE_MS = 100
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

DIGITS = frozenset(TONES_HZ)


def tones(digits: str, rate_hz: int) -> bytes:
    """The keys one after the other, each followed by a pause, as PCM.

    Raises:
        ValueError: a character is not on the telephone's keypad.
    """
    unknown = sorted(set(digits) - DIGITS)
    if unknown:
        raise ValueError(f"not on the keypad: {''.join(unknown)!r}; expected 0-9, *, #, A-D")
    return b"".join(_key(digit, rate_hz) + silence(PAUSE_MS, rate_hz) for digit in digits)


def _key(digit: str, rate_hz: int) -> bytes:
    row, column = (
        to_samples(tone(hz, TONE_MS, rate_hz, level_dbfs=_LEVEL_DBFS)).astype(np.int32)
        for hz in TONES_HZ[digit]
    )
    return to_bytes(row + column)
