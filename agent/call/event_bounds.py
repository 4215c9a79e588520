"""How much a server may say: of one that says too much, or what nobody can use, the session ends.

A good server sends a few events a second beside its audio. What a broken or hostile one sends costs
marks, log lines and memory; so it is given up like one that is lost: another session is tried for,
a bounded number of times, and then the caller hears why the call ends.
"""

from callerside.clock import NS_PER_S

WINDOW_S = 10
MOST_EVENTS = 2_000
"""In that time, of those that change something: audio and signs of life are not counted."""
MOST_UNUSABLE = 200
"""In that time: dropped, or an error."""
MOST_ITEMS = 64
"""Of one response, and calls of functions in one."""


class EventBounds:
    """Counts what one session's server sends."""

    def __init__(self) -> None:
        self._began_ns = 0
        self._events = 0
        self._unusable = 0

    def exceeded(self, now_ns: int, *, unusable: bool = False) -> str:
        """One more event has come; returns what is too much by now, if anything is.

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
