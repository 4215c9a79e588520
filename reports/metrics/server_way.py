"""The way to the server, where a scenario puts the server far away (`realtime: {path: …}`).

What the way takes is not the agent's. A scenario says how long a message is under way at least
(`delay`) and how much later it may come (`jitter`); the marks of both sides say when it left and
when it was taken. What lies between is the way's up to what a message may take at most: the rest
is lateness of whoever took it. Of a message that only one side marks, the way is known to half its
jitter.

Nothing is taken off a call whose agent writes no marks.
"""

from dataclasses import dataclass

from callerside.clock import ms_to_ns, ns_to_ms
from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.error_bounds import EXACT
from callerside.reports.metrics.measurement import ErrorBound

_SOURCE = "what the way's jitter was"


@dataclass(frozen=True, slots=True)
class Trip:
    """One message's way."""

    length_ns: int = 0
    bound: ErrorBound = EXACT

    def __add__(self, other: "Trip") -> "Trip":
        return Trip(self.length_ns + other.length_ns, self.bound + other.bound)


NO_WAY = Trip()


@dataclass(frozen=True, slots=True)
class ServerWay:
    """One direction of the way between agent and server; the other is alike."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    exact: bool = False
    """Whether whoever takes a message takes it at once, as in memory: then all is the way's."""

    def __bool__(self) -> bool:
        return bool(self.delay_ms or self.jitter_ms)

    def trip(self, left_ns: int | None, taken_ns: int | None) -> Trip:
        """The way of a message, by the marks of both its ends, as far as there are any."""
        if not self:
            return NO_WAY
        if left_ns is None or taken_ns is None:
            half_ms = self.jitter_ms / 2
            return Trip(ms_to_ns(self.delay_ms + half_ms), _bound(half_ms))
        least_ns, jitter_ns = ms_to_ns(self.delay_ms), ms_to_ns(self.jitter_ms)
        late_ns = min(max(0, taken_ns - left_ns - least_ns), jitter_ns)
        # Over sockets so much may as well have been lateness of whoever took the message.
        return Trip(least_ns + late_ns, _bound(0.0 if self.exact else ns_to_ms(late_ns)))


def _bound(size_ms: float) -> ErrorBound:
    return ErrorBound(size_ms, _SOURCE) if size_ms else EXACT


def way_of(evidence: CallEvidence) -> ServerWay:
    """The way that the call's scenario asked for; none where the agent's marks are missing."""
    if evidence.first("agent", "call_received") is None:
        return ServerWay()
    info = evidence.info
    return ServerWay(info.way_ms, info.way_jitter_ms, exact=info.lane == "virtual")


def prepared_ms(opened: Mark) -> float:
    """What the server took before it could open a session, by its `session_opened`: its own."""
    return float(opened.fields.get("prepared_ms") or 0.0)


def handshake(evidence: CallEvidence, connected_ns: int) -> Trip:
    """What the way took of the handshake that was done then: there, and back."""
    way = way_of(evidence)
    began = [m for m in evidence.find("agent", "realtime_connecting") if m.at_ns <= connected_ns]
    if not way or not began:
        return NO_WAY
    opened = [
        mark
        for mark in evidence.find("realtime", "session_opened", after_ns=began[-1].at_ns)
        if mark.at_ns <= connected_ns
    ]
    if not opened:
        return way.trip(None, None) + way.trip(None, None)
    held_ns = ms_to_ns(float(opened[-1].fields.get("delay_ms") or 0.0) + prepared_ms(opened[-1]))
    return way.trip(began[-1].at_ns, opened[-1].at_ns - held_ns) + way.trip(
        opened[-1].at_ns, connected_ns
    )
