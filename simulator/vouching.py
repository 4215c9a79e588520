"""Whether the harness can vouch for what a call measured, on the machine that it was played on.

A machine that stands still bends what is heard on it. The run notes when that was
(`simulator.stalls`), and the caller's process notes its own lag. A call that fails is not held
against the agent if that explains by how much it failed: a stall delays what is on its way by its
own length, and may leave one frame more in the jitter buffer of each direction. What is further off
than that is the agent's doing, on any machine.
"""

from dataclasses import dataclass, replace

from reports.budget import Judged
from reports.standstill import standstills
from simulator.evaluate import Evaluated

VOUCHED_LAG_MS = 10.0
"""Half a frame. A call that went otherwise than scripted is believed up to here."""
JITTER_FRAMES_MS = 40.0
"""One frame of 20 ms in each direction: what PJSIP's jitter buffer keeps after a late packet."""


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


def disturbance(call: Evaluated) -> Disturbance:
    """What is known to have disturbed a call."""
    marks = call.result.evidence.marks if call.result else []
    stood = standstills(marks)
    lags = [float(m.fields["worst_ms"]) for m in marks if m.name == "scheduling_lag"]
    lag_ms = max((lag for lag in lags if lag > VOUCHED_LAG_MS), default=0.0)
    return Disturbance(
        worst_ms=max([*(one.worst_ms for one in stood), *lags], default=0.0),
        total_ms=max(sum(one.length_ms for one in stood), lag_ms),
    )


def is_bent(call: Evaluated) -> bool:
    """Whether a call failed, and what disturbed it explains that."""
    if call.verdict != "failed" or call.result is None:
        return False
    disturbed = disturbance(call)
    beyond = [one for one in call.result.judged if one.verdict == "failed"]
    went_as_scripted = call.result.evidence.info.verdict == "passed"
    if not went_as_scripted or not all(_is_time(one) for one in beyond):
        return disturbed.worst_ms > VOUCHED_LAG_MS
    return all(-(one.margin or 0.0) <= disturbed.explains_ms for one in beyond)


def not_vouched(call: Evaluated, attempts: int) -> Evaluated:
    """A call whose numbers the harness cannot vouch for, as an error of the run."""
    disturbed = disturbance(call)
    sentence = (
        f"not measured: this machine stood still, in each of {attempts} attempts (for "
        f"{disturbed.worst_ms:.0f} ms at most in the last one, {disturbed.total_ms:.0f} ms in "
        f"all); run fewer calls at once (--jobs), or on a machine that does less. It was "
        f"{call.sentence}"
    )
    result = call.result and replace(call.result, verdict="error", detail=sentence)
    return replace(call, verdict="error", sentence=sentence, result=result, unmeasured=True)


def _is_time(one: Judged) -> bool:
    return one.unit == "ms"
