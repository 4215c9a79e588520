"""When a process that was asked to stop may stop: the policy of draining, without any I/O.

Asked once, new calls are refused and those that are up may finish, for a bounded time. Asked again,
or when that time is over, they are ended; whoever does not end even then is left behind.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

from callerside.clock import ms_to_ns

END_GRACE_MS = 5000
"""How long calls that are being ended may take for it: longer than a BYE's first answers."""

DrainState = Literal["serving", "draining", "ending", "stopped"]


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """SIGTERM or SIGINT."""


@dataclass(frozen=True, slots=True)
class CallsChanged:
    """So many calls are up now."""

    active: int


@dataclass(frozen=True, slots=True)
class DrainTimerFired:
    """The time that was set last has come."""


@dataclass(frozen=True, slots=True)
class RefuseCalls:
    """Turn new calls away (503, `Retry-After`) and say so at `/readyz`."""


@dataclass(frozen=True, slots=True)
class EndCalls:
    """Hang up those that are still up."""


@dataclass(frozen=True, slots=True)
class SetDrainTimer:
    """Come back at this time; replaces the one set before."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class StopProcess:
    """All is done, exit. `left_behind`: calls that did not even end when ordered to."""

    left_behind: int


DrainInput = DrainAsked | CallsChanged | DrainTimerFired
DrainEffect = RefuseCalls | EndCalls | SetDrainTimer | StopProcess


class Drain:
    """The state machine of stopping."""

    def __init__(self, limit_ms: int) -> None:
        """`limit_ms`: how long calls may go on after the first request to stop."""
        self.state: DrainState = "serving"
        self._limit_ns = ms_to_ns(limit_ms)
        self._active = 0

    def handle(self, happened: DrainInput, now_ns: int) -> list[DrainEffect]:
        """What to do about it, in this order."""
        if self.state == "stopped":
            return []
        match happened:
            case CallsChanged(active):
                self._active = active
                return [] if active or self.state == "serving" else self._stop()
            case DrainAsked():
                return self._on_asked(now_ns)
            case DrainTimerFired():
                return self._on_timer(now_ns)
            case unknown:
                assert_never(unknown)

    def _on_asked(self, now_ns: int) -> list[DrainEffect]:
        if self.state == "serving":
            return self._begin(now_ns)
        return self._end(now_ns) if self.state == "draining" else []

    def _on_timer(self, now_ns: int) -> list[DrainEffect]:
        if self.state == "draining":
            return self._end(now_ns)
        return self._stop() if self.state == "ending" else []

    def _begin(self, now_ns: int) -> list[DrainEffect]:
        self.state = "draining"
        if not self._active:
            return [RefuseCalls(), *self._stop()]
        return [RefuseCalls(), SetDrainTimer(now_ns + self._limit_ns)]

    def _end(self, now_ns: int) -> list[DrainEffect]:
        self.state = "ending"
        return [SetDrainTimer(now_ns + ms_to_ns(END_GRACE_MS)), EndCalls()]

    def _stop(self) -> list[DrainEffect]:
        self.state = "stopped"
        return [StopProcess(self._active)]
