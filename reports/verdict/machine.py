"""What the machine did to a call, and which of its times say nothing of the agent therefore.

A machine that stands still distorts what is heard on it. Of the times of a turn it is told hop by
hop what it took, and that is off the value (`reports.metrics.machine_time`): what is beyond its
limit all the same is the agent's. Of other times nothing is taken off. One that is beyond its limit
is not held against the agent if what lay within it explains by how much: a stall delays what is on
its way by its own length, and may leave one frame more in the jitter buffer of each direction. What
is further off is the agent's doing, on any machine; so is what is late while the machine kept time,
whatever it did before and after. What was said, heard and sent is never explained by a stall.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from callerside.clock import ns_to_ms
from callerside.marks import Mark
from callerside.reports.metrics.machine_stalls import StallInterval, stall_intervals
from callerside.reports.verdict.budget import Judged

TRUSTED_LAG_MS = 10.0
"""Half a frame: a lag of the harness's own up to here bends nothing."""
JITTER_FRAMES_MS = 40.0
"""One frame of 20 ms in each direction: what a jitter buffer may keep after a late packet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disturbance:
    """What the machine and the harness did to a call."""

    stalls: tuple[StallInterval, ...] = ()
    """In order; nothing overlaps."""
    lag_ms: float = 0.0
    """The harness's own, at its worst; 0 where it can be trusted. Nobody knows when it was, nor
    whose work it waited for: 0 for an agent of ours, of which waits are told one by one."""

    def explains_ms(self, span_ns: tuple[int, int] | None = None) -> float:
        """By how much a time may be wrong for it.

        Args:
            span_ns: from when to when it was measured; None: somewhere in the call.
        """
        stood_ms = max(self.stood_ms(span_ns), self.lag_ms)
        return stood_ms + JITTER_FRAMES_MS if stood_ms else 0.0

    def stood_ms(self, span_ns: tuple[int, int] | None = None) -> float:
        """For how long something stood still within a time, all in all."""
        if span_ns is None:
            return sum(one.length_ms for one in self.stalls)
        start_ns, end_ns = span_ns
        within = (min(one.end_ns, end_ns) - max(one.start_ns, start_ns) for one in self.stalls)
        return ns_to_ms(sum(length_ns for length_ns in within if length_ns > 0))


def disturbance(marks: Sequence[Mark]) -> Disturbance:
    """What is known to have disturbed a call."""
    is_ours = any(mark.source == "agent" for mark in marks)
    lags = [float(m.fields["worst_ms"]) for m in marks if m.name == "scheduling_lag"]
    lags = [] if is_ours else lags
    return Disturbance(
        stalls=tuple(stall_intervals(marks)),
        lag_ms=max((lag for lag in lags if lag > TRUSTED_LAG_MS), default=0.0),
    )


def without_the_machines(judged: Sequence[Judged], by: Disturbance) -> list[Judged]:
    """The same, where times beyond their limits that a disturbance explains are not measured."""
    return [
        replace(one, verdict="not measured", reason="machine") if _is_explained(one, by) else one
        for one in judged
    ]


def _is_explained(one: Judged, by: Disturbance) -> bool:
    if one.verdict != "failed" or one.unit != "ms" or one.taken is not None:
        return False
    return -(one.margin or 0.0) <= by.explains_ms(one.span_ns)
