"""How much a server may say: of one that says too much, or what nobody can use, the session ends.

A good server sends a few events a second beside its audio, and that faster than it is heard, a
response at a time. What a broken or hostile one sends costs marks, log lines, memory, time and
disk; so it is given up like one that is lost: another session is tried for, a bounded number of
times, and then the caller hears why the call ends.

Whatever their kind, events are counted as they come, in number and in bytes, over all sessions of
a call. Those that change something are fewer, and so are those that cannot be used. A response has
an end: it holds no more than the largest that a model makes.
"""

from callerside.clock import NS_PER_S

MOST_BYTES_AT_ONCE = 64 * 1024 * 1024
"""Ten minutes of speech in deltas of 20 ms, and its words, all at once: 50 MB (base64, PCM)."""
MOST_BYTES_PER_S = 1024 * 1024
"""Behind that. Speech is sent 12 times faster than it is heard: 0.95 MB a second at most."""
MOST_EVENTS_AT_ONCE = 40_000
"""The same ten minutes: 30,000 deltas, and one for each of some 2,500 words."""
MOST_EVENTS_PER_S = 1_000
"""Behind that: 600 deltas, and 50 words."""
WINDOW_S = 10
MOST_EVENTS = 2_000
"""In that time, of those that change something: audio and other deltas are not counted."""
MOST_UNUSABLE = 200
"""In that time: dropped, or an error."""
MOST_ITEMS = 64
"""Of one response, and calls of functions in one."""
MOST_AUDIO_S = 30 * 60
"""Of one response. The largest output of a model, 32,000 tokens, is 27 minutes of speech."""
MOST_WORDS_BYTES = 16 * 1024 * 1024
"""Of one response, without its audio: as many tokens, each in an event of 500 bytes."""


class EventBounds:
    """Counts what the servers of one call's sessions send."""

    def __init__(self) -> None:
        self._began_ns = 0
        self._events = 0
        self._unusable = 0
        self._arrived_ns = 0
        self._waiting_events = 0.0
        self._waiting_bytes = 0.0

    def flooded(self, now_ns: int, size_bytes: int) -> str:
        """Something of that size has come, whatever it is; returns what is too much by now.

        Another session begins with what the last one has left.
        """
        passed_s = (now_ns - self._arrived_ns) / NS_PER_S
        self._arrived_ns = now_ns
        self._waiting_events = max(0.0, self._waiting_events - passed_s * MOST_EVENTS_PER_S) + 1
        waiting_bytes = max(0.0, self._waiting_bytes - passed_s * MOST_BYTES_PER_S) + size_bytes
        self._waiting_bytes = min(waiting_bytes, MOST_BYTES_AT_ONCE)
        if waiting_bytes > MOST_BYTES_AT_ONCE:
            return f"more than {MOST_BYTES_AT_ONCE} bytes, and {MOST_BYTES_PER_S} a second"
        if self._waiting_events > MOST_EVENTS_AT_ONCE:
            self._waiting_events = MOST_EVENTS_AT_ONCE
            return f"more than {MOST_EVENTS_AT_ONCE} events, and {MOST_EVENTS_PER_S} a second"
        return ""

    def exceeded(self, now_ns: int, *, unusable: bool = False) -> str:
        """One more event that changes something; returns what is too much by now, if anything is.

        `unusable`: it was dropped, or tells an error.
        """
        if now_ns - self._began_ns >= WINDOW_S * NS_PER_S:
            self.begin_anew(now_ns)
        self._events += 1
        self._unusable += unusable
        if self._unusable > MOST_UNUSABLE:
            return f"more than {MOST_UNUSABLE} events within {WINDOW_S} s could not be used"
        if self._events > MOST_EVENTS:
            return f"more than {MOST_EVENTS} events within {WINDOW_S} s"
        return ""

    def begin_anew(self, now_ns: int) -> None:
        """Another session, or another while of this one."""
        self._began_ns, self._events, self._unusable = now_ns, 0, 0
