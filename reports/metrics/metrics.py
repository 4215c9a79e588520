"""The numbers: from the evidence of a call to all that the registry declares."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pkgutil import resolve_name

from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.answers import Answer, answers_of
from callerside.reports.metrics.audible import AudibleSegments
from callerside.reports.metrics.heard_call import HeardCall, hear
from callerside.reports.metrics.measurement import Measurement, Unmeasured
from callerside.reports.metrics.on_hold import spans_on_hold, without_holds
from callerside.reports.metrics.registry import METRICS
from callerside.reports.metrics.turns import Turn

Measure = Callable[[HeardCall], Iterator[Measurement | Unmeasured]]


@dataclass(frozen=True)
class Measured:
    """Everything that a call's evidence says."""

    audible: AudibleSegments
    turns: list[Turn]
    answers: list[Answer]
    measurements: list[Measurement]
    holes: list[tuple[int, int]] = field(default_factory=list)
    """From when to when packets are missing, in a bare recording."""
    unmeasured: list[Unmeasured] = field(default_factory=list)
    """The numbers that this call does not have, each with its reason."""

    def outline(self) -> "Measured":
        """Without the answers, which hold all the sound that was sent and heard."""
        return replace(self, answers=[])

    def whole(self, evidence: CallEvidence) -> "Measured":
        """An outline with its answers again, found in the evidence that was measured."""
        return replace(self, answers=answers_of(evidence))


def measure(evidence: CallEvidence) -> Measured:
    """Every number that the evidence of a call supports, and why there is none of the others."""
    call = hear(evidence)
    names = dict.fromkeys(metric.measured_by for metric in METRICS.values())
    unfit = evidence.info.recording.unfit if evidence.info.recording else {}
    measured = (one for name in names for one in measure_called(name)(call))
    found = [
        one for one in without_holds(measured, spans_on_hold(evidence)) if one.name not in unfit
    ]
    found += [Unmeasured(name=name, reason=reason) for name, reason in unfit.items()]
    measurements = [one for one in found if isinstance(one, Measurement)]
    why = [one for one in found if isinstance(one, Unmeasured)]
    unmeasured = [*_unmeasured(measurements, why)]
    return Measured(call.audible, call.turns, call.answers, measurements, call.holes, unmeasured)


def nothing_measured() -> Measured:
    """What is said of a call that cannot be measured: of every metric, why there is none."""
    return Measured(AudibleSegments([], [], None, []), [], [], [], [], [*_unmeasured([], [])])


def _unmeasured(
    measurements: Sequence[Measurement], why: Sequence[Unmeasured]
) -> Iterator[Unmeasured]:
    """What is not measured: why, as it was found; of other metrics, as they are declared."""
    measured = {(one.name, one.turn) for one in measurements}
    yield from (one for one in why if (one.name, one.turn) not in measured)
    known = {one.name for one in measurements} | {one.name for one in why}
    for name, metric in METRICS.items():
        if name not in known:
            yield Unmeasured(name=name, reason=metric.none_because, moot=True)


def measure_called(name: str) -> Measure:
    """The function that a metric is `measured_by`."""
    found: Measure = resolve_name(f"callerside.reports.metrics.{name}")
    return found
