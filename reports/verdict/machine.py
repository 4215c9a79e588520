"""What the machine did to a call, and which of its times say nothing of the agent therefore.

A machine that stands still distorts what is heard on it. A time that is beyond its limit is not
held against the agent if that explains by how much: a stall delays what is on its way by its own
length, and may leave one frame more in the jitter buffer of each direction. What is further off is
the agent's doing, on any machine; and what was said, heard and sent is never explained by a stall.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from callerside.marks import Mark
from callerside.reports.metrics.machine_stalls import stall_intervals
from callerside.reports.verdict.budget import Judged

TRUSTED_LAG_MS = 10.0
"""Half a frame: a lag of the harness's own up to here bends nothing."""
JITTER_FRAMES_MS = 40.0
"""One frame of 20 ms in each direction: what a jitter buffer may keep after a late packet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disturbance:
    """What the machine and the harness did to a call, in milliseconds."""

    worst_ms: float
    """The longest time for which a processor stood still, or the harness's loop was late."""
    total_ms: float

    @property
    def explains_ms(self) -> float:
        """By how much a time may be wrong for it."""
        return self.total_ms + JITTER_FRAMES_MS if self.total_ms else 0.0


def disturbance(marks: Sequence[Mark]) -> Disturbance:
    """What is known to have disturbed a call."""
    stood = stall_intervals(marks)
    lags = [float(m.fields["worst_ms"]) for m in marks if m.name == "scheduling_lag"]
    lag_ms = max((lag for lag in lags if lag > TRUSTED_LAG_MS), default=0.0)
    return Disturbance(
        worst_ms=max([*(one.worst_ms for one in stood), *lags], default=0.0),
        total_ms=max(sum(one.length_ms for one in stood), lag_ms),
    )


def without_the_machines(judged: Sequence[Judged], by: Disturbance) -> list[Judged]:
    """The same, where times beyond their limits that a disturbance explains are not measured."""
    return [
        replace(one, verdict="not measured", reason="machine") if _is_explained(one, by) else one
        for one in judged
    ]


def _is_explained(one: Judged, by: Disturbance) -> bool:
    if one.verdict != "failed" or one.unit != "ms":
        return False
    return -(one.margin or 0.0) <= by.explains_ms
