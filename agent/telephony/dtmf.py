"""Key presses: their tones, for lines that carry only sound, and their pace."""

import re
from collections import deque

from callerside.audio import silence
from callerside.clock import NS_PER_MS
from callerside.speech.dtmf_tones import TONE_MS, TONES_HZ, key_tone

PAUSE_MS = 100

DIGITS = frozenset(TONES_HZ)


MOST_WAITING = 32
"""As many keys as PJMEDIA keeps for RFC 4733."""


class PacedKeys:
    """Keys that are to go out as messages of their own (SIP INFO), no faster than a hand presses.

    The stack would send all of them at once, and over UDP they might overtake each other.
    """

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._next_ns = 0

    @property
    def due_ns(self) -> int | None:
        """When the next key is to be sent, if one waits."""
        return self._next_ns if self._waiting else None

    def press(self, digits: str) -> str:
        """Add keys; what is returned found no room."""
        room = MOST_WAITING - len(self._waiting)
        self._waiting.extend(digits[:room])
        return digits[room:]

    def due(self, now_ns: int) -> str | None:
        """The key that is to be sent now, if one is."""
        if not self._waiting or now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + (TONE_MS + PAUSE_MS) * NS_PER_MS
        return self._waiting.popleft()


INFO_TYPES = ("application/dtmf-relay", "application/dtmf")
"""In which a key comes by SIP INFO."""
_SIGNAL = re.compile(r"^\s*signal\s*=\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_NUMBERED = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}


def key_of_info(content_type: str, body: str) -> str | None:
    """The key that an INFO brings; None: none that we know."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in INFO_TYPES:
        return None
    signal = _SIGNAL.search(body)
    said = (signal[1] if signal else body).strip().upper()
    key = _NUMBERED.get(said, said)
    return key if key in DIGITS else None


def tones(digits: str, rate_hz: int) -> bytes:
    """The keys one after the other, each followed by a pause, as PCM.

    Raises:
        ValueError: a character is not on the telephone's keypad.
    """
    unknown = sorted(set(digits) - DIGITS)
    if unknown:
        raise ValueError(f"not on the keypad: {''.join(unknown)!r}; expected 0-9, *, #, A-D")
    return b"".join(key_tone(digit, rate_hz) + silence(PAUSE_MS, rate_hz) for digit in digits)
