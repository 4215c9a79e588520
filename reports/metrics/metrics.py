"""The numbers: from the evidence of a call to all that the registry declares."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pkgutil import resolve_name

from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.answers import Answer
from callerside.reports.metrics.audible import AudibleSegments
from callerside.reports.metrics.heard_call import HeardCall, hear
from callerside.reports.metrics.measurement import Measurement
from callerside.reports.metrics.registry import METRICS
from callerside.reports.metrics.turns import Turn

Measure = Callable[[HeardCall], Iterator[Measurement]]


@dataclass(frozen=True)
class Measured:
    """Everything that a call's evidence says."""

    audible: AudibleSegments
    turns: list[Turn]
    answers: list[Answer]
    measurements: list[Measurement]


def measure(evidence: CallEvidence) -> Measured:
    """Every number that the evidence of a call supports; what it does not show is left out."""
    call = hear(evidence)
    names = dict.fromkeys(metric.measured_by for metric in METRICS.values())
    found = [one for name in names for one in measure_called(name)(call)]
    return Measured(call.audible, call.turns, call.answers, found)


def measure_called(name: str) -> Measure:
    """The function that a metric is `measured_by`."""
    found: Measure = resolve_name(f"callerside.reports.metrics.{name}")
    return found
