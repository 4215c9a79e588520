"""What goes wrong in telephony: errors, and calls that are refused.

Each of those is told, and very many do not fill the log.
"""

import time
from collections.abc import Callable

import structlog

from callerside.clock import NS_PER_S

_log = structlog.get_logger(__name__)

LOG_LINES_PER_S = 20


class SipError(Exception):
    """The SIP stack could not do what was asked; the text says what, and what to do about it."""


class PortTakenError(SipError):
    """The SIP address is in use by another program."""


class NoFreeCallError(SipError):
    """All the calls that one process can hold are up (PJSUA has room for four)."""

    def __init__(self, active: int) -> None:
        super().__init__(f"{active} calls are up, and a process holds no more")


class Refusals:
    """Tells of calls that were refused before they became a leg.

    Args:
        on_refused: told the status of each, and why that was.
    """

    def __init__(self, on_refused: Callable[[int, str], None] | None) -> None:
        self._on_refused = on_refused
        self._log_limit = LogLimit()

    def note(self, status: int, reason: str, source: str) -> None:
        """One was."""
        unlogged = self._log_limit.passes(time.monotonic_ns())
        if unlogged is not None:
            more = {"unlogged": unlogged} if unlogged else {}
            _log.info("sip_call_refused", source=source, status=status, reason=reason, **more)
        if self._on_refused is not None:
            self._on_refused(status, reason)


class LogLimit:
    """Lets through so many lines a second, and counts the others: a flood must not fill the log."""

    def __init__(self, per_s: int = LOG_LINES_PER_S) -> None:
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
