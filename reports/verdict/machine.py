"""What the machine did to a call, and which of its times say nothing of the agent therefore.

A machine that stands still distorts what is heard on it. Of the times that something ends (a turn,
a beep, a stop) it is told part by part what it took, and that is off the value
(`reports.metrics.machine_time`): what is beyond its limit all the same is the agent's. Of what is
wrong *within* a sound (its length, a hole in it, what was cut off or reported of it) nothing can be
taken off: a stall there makes packets late, and leaves a hole of its own length and one frame more
in the jitter buffer of each direction, or nothing. Such a value beyond its limit is not held
against the agent if what lay within the sound explains by how much. What is further off is the
agent's doing, on any machine; so is what is wrong while the machine kept time, whatever it did
before and after. What was said, heard and sent is never explained by a stall.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from callerside.clock import ns_to_ms
from callerside.marks import Mark
from callerside.reports.metrics.machine_stalls import StallInterval, stall_intervals
from callerside.reports.verdict.budget import Judged, Limits, judge_percentiles

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


def percentiles_without_the_machines(
    values: Sequence[tuple[Judged, Disturbance]], limits: Limits
) -> list[Judged]:
    """The percentiles of a scenario's calls, held to their limits (`judge_percentiles`).

    One that is beyond its limit, and would not be if the machine had taken of each value what it
    may have, is not measured.

    Args:
        values: each with what disturbed its call.
        limits: by metric.
    """
    found = judge_percentiles([one for one, _ in values], limits)
    at_best = judge_percentiles(
        [replace(one, value=one.value - _doubt_ms(one, by)) for one, by in values], limits
    )
    return [
        replace(one, verdict="not measured", reason="machine")
        if one.verdict == "failed" and (best.margin or 0.0) >= 0
        else one
        for one, best in zip(found, at_best, strict=True)
    ]


def _doubt_ms(one: Judged, by: Disturbance) -> float:
    """How much more of a value the machine may have taken than is off it."""
    if one.unit != "ms":
        return 0.0
    if one.taken is None:
        return by.explains_ms(one.span_ns)
    lag_ms = by.lag_ms + JITTER_FRAMES_MS if by.lag_ms else 0.0
    # The lag may be the very wait that is told already: what is off the value is not doubted again.
    return max(one.taken.doubt_ms, lag_ms - one.taken.least_ms)


def _is_explained(one: Judged, by: Disturbance) -> bool:
    if one.verdict != "failed" or one.unit != "ms":
        return False
    return -(one.margin or 0.0) <= _doubt_ms(one, by)
