"""What goes wrong in telephony: errors, and calls that are refused.

Each of those is told, and very many do not fill the log.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

from callerside.addresses import owner_of
from callerside.clock import NS_PER_S

Later = Callable[[float, Callable[[], None]], None]
_MOST_SOURCES = 10_000
"""That are counted."""


class SipError(Exception):
    """The SIP stack could not do what was asked; the text says what, and what to do about it."""


class PortTakenError(SipError):
    """The SIP address is in use by another program."""


class NoFreeCallError(SipError):
    """All the calls that one process can hold are up (PJSUA has room for four)."""

    def __init__(self, active: int) -> None:
        super().__init__(f"{active} calls are up, and a process holds no more")


class CountsPerSecond:
    """Makes one line a second of what may happen very often: the first of it, then counts.

    Args:
        log: writes a line: the first as it was noted, the others with `counts` of each kind and of
            how many addresses it came (`sources`).
        later: calls back after so many seconds, from any thread.
    """

    def __init__(self, log: Callable[..., object], later: Later) -> None:
        self._log = log
        self._later = later
        self._is_quiet = True
        self._counts: Counter[str] = Counter()
        self._sources: set[str] = set()

    def note(self, source: str, **kind: object) -> None:
        """It has happened once more, to "host:port"; there are few kinds."""
        if self._is_quiet:
            self._is_quiet = False
            self._log(source=source, **kind)
            self._later(1.0, self._tell)
            return
        self._counts[" ".join(map(str, kind.values()))] += 1
        if len(self._sources) < _MOST_SOURCES:
            self._sources.add(owner_of(source))

    def _tell(self) -> None:
        counts, self._counts = self._counts, Counter()
        sources, self._sources = self._sources, set()
        self._is_quiet = not counts
        if counts:
            self._log(counts=dict(counts), sources=len(sources))
            self._later(1.0, self._tell)


class Refusals:
    """Tells of calls that were refused before they became a leg, and of what was turned away.

    Args:
        on_refused: told the status of each call, and why that was.
        later: see `CountsPerSecond`.
    """

    def __init__(self, on_refused: Callable[[int, str], None] | None, later: Later) -> None:
        import structlog  # not for whoever only knows the errors

        log = structlog.get_logger(__name__)
        self._on_refused = on_refused
        self._refused = CountsPerSecond(partial(log.info, "sip_call_refused"), later)
        self._turned_away = CountsPerSecond(partial(log.warning, "sip_turned_away"), later)
        self._faulty = CountsPerSecond(partial(log.warning, "sip_message_refused"), later)

    def note(self, status: int, reason: str, source: str) -> None:
        """A call was."""
        self._refused.note(source, status=status, reason=reason)
        if self._on_refused is not None:
            self._on_refused(status, reason)

    def note_turned_away(self, status: int, reason: str, method: str, source: str) -> None:
        """A message was, before it was looked at; a status of 0: it was dropped."""
        self._turned_away.note(source, status=status, reason=reason, method=method)
        if method == "INVITE" and self._on_refused is not None:
            self._on_refused(status, reason)

    def note_faulty(
        self, status: int, why: str, method: str, source: str, reason: str = "malformed"
    ) -> None:
        """A message was that is none, or that nobody here could answer; 0: it got no answer.

        Of an INVITE that is a call that was refused, for that `reason`.
        """
        self._faulty.note(source, status=status, reason=why, method=method)
        if method == "INVITE" and self._on_refused is not None:
            self._on_refused(status, reason)


class LogLimit:
    """Lets through so many lines a second, and counts the others: a flood must not fill the log."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._began_ns = 0
        self._passed = 0
        self._held_back = 0

    def passes(self, now_ns: int) -> int | None:
        """How many were held back since the last one that passed; None: this one is, too."""
        if now_ns - self._began_ns >= NS_PER_S:
            self._began_ns, self._passed = now_ns, 0
        if self._passed >= self._per_s:
            self._held_back += 1
            return None
        self._passed += 1
        held_back, self._held_back = self._held_back, 0
        return held_back
