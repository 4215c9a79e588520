"""When to ask a registrar again that has refused us.

PJSUA itself tries again what may pass soon (408, 5xx, 6xx), but takes a 403 or a 404 for the last
word. A PBX says that while it restarts, too; so it is asked again, ever more slowly, for a wrong
password shall not look like an attack.
"""

_PJSUA_RETRIES = frozenset({408, 480, 500, 502, 503, 504})
_GLOBAL_FAILURE = 600
"""PJSUA tries these again by itself: those above, and all from here on."""
_FACTOR, _MAX_S, _MAX_DOUBLINGS = 6, 3600, 10


class RefusalRetry:
    """The waits between one refused registration and the next: 6 times `retry_s`, 12 times, ..."""

    def __init__(self, retry_s: int) -> None:
        self._retry_s = retry_s
        self._refusals = 0

    def next_s(self, status: int, *, registered: bool) -> int | None:
        """How long to wait before the next try, if it is for us to make one."""
        if registered:
            self._refusals = 0
            return None
        if status in _PJSUA_RETRIES or status >= _GLOBAL_FAILURE:
            return None
        doublings = min(self._refusals, _MAX_DOUBLINGS)
        self._refusals += 1
        return min(_FACTOR * self._retry_s << doublings, _MAX_S)
