"""Whether what was measured of a call can be trusted, on the machine that it was played on.

A machine that stands still distorts what is heard on it. The run notes when that was
(`runner.scheduler_stalls`), and the caller's process notes its own lag. A call whose times are
beyond their limits is not held against the agent if that explains by how much: a stall delays what
is on its way by its own length, and may leave one frame more in the jitter buffer of each
direction. What is further off than that is the agent's doing, on any machine.

A call that went otherwise than its scenario says is a chance to try again where the machine stood
still, and no more: what was said, heard and sent is never explained by a stall.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from callerside.reports.metrics.machine_stalls import stall_intervals
from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.results import CallResult
from callerside.simulator.runner.evaluate import Evaluated

TRUSTED_LAG_MS = 10.0
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
    stood = stall_intervals(marks)
    lags = [float(m.fields["worst_ms"]) for m in marks if m.name == "scheduling_lag"]
    lag_ms = max((lag for lag in lags if lag > TRUSTED_LAG_MS), default=0.0)
    return Disturbance(
        worst_ms=max([*(one.worst_ms for one in stood), *lags], default=0.0),
        total_ms=max(sum(one.length_ms for one in stood), lag_ms),
    )


def is_worth_retrying(call: Evaluated) -> bool:
    """Whether a call failed on a machine that stood still, so that it is worth another attempt."""
    if is_unmeasured(call):
        return True
    if call.verdict != "failed" or call.result is None:
        return False
    return _went_otherwise(call.result) and disturbance(call).worst_ms > TRUSTED_LAG_MS


def is_unmeasured(call: Evaluated) -> bool:
    """Whether nothing but times is wrong with a call, and what disturbed it explains them."""
    if call.verdict != "failed" or call.result is None or _went_otherwise(call.result):
        return False
    return is_explained(call.result.judged, disturbance(call).explains_ms)


def is_explained(judged: Iterable[Judged], explains_ms: float) -> bool:
    """Whether something is beyond its limit, and all that is is a time, by no more than so much."""
    beyond = [one for one in judged if one.verdict == "failed"]
    return bool(beyond) and all(
        _is_time(one) and -(one.margin or 0.0) <= explains_ms for one in beyond
    )


def as_unmeasured(call: Evaluated, attempts: int) -> Evaluated:
    """A call whose numbers cannot be trusted, as an error of the run."""
    disturbed = disturbance(call)
    sentence = (
        f"not measured: this machine stood still, in each of {attempts} attempts (for "
        f"{disturbed.worst_ms:.0f} ms at most in the last one, {disturbed.total_ms:.0f} ms in "
        f"all); run fewer calls at once (--jobs), or on a machine that does less. It was "
        f"{call.sentence}"
    )
    result = call.result and replace(call.result, verdict="error", detail=sentence)
    return replace(call, verdict="error", sentence=sentence, result=result, unmeasured=True)


def _went_otherwise(result: CallResult) -> bool:
    """Otherwise than scripted, or with a wrong number that is no time: a tone, a loss."""
    beyond = [one for one in result.judged if one.verdict == "failed"]
    return result.evidence.info.verdict != "passed" or not all(map(_is_time, beyond))


def _is_time(one: Judged) -> bool:
    return one.unit == "ms"
