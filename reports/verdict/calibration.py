"""How true the numbers are: the harness's own error, metric by metric, as measured.

A call to a responder whose behaviour is known to the sample gives, for every metric, what was
measured and what should have been; the differences are the harness's error. Its median is the bias,
a constant that can be taken off; what remains is given as percentiles of its size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from callerside.reports.metrics import measurement
from callerside.reports.metrics.registry import METRICS

VERSION = 1

MOVED = "p95 of what it changed by within a call"
"""Of `path_ms`."""

_WORTH_CORRECTING = 1.0
_MOST_CORRECTED = 10.0
_DIGITS = 4  # a tenth of a microsecond, below which there is only the arithmetic of floats


class CalibrationError(ValueError):
    """A calibration that cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricError:
    """The harness's own error in one metric."""

    name: str
    unit: str
    count: int
    bias: float
    """Median of measured less true."""
    p50: float
    """Of the size of what remains when the bias is taken off."""
    p95: float
    p99: float

    @property
    def corrected(self) -> bool:
        """Whether the bias is taken off what is measured: from a millisecond or a hertz on.

        Smaller ones are those of the sounds that were used: how hard their edges are. One of more
        than half a packet is no constant of the harness but a fault, of it or of the responder:
        it is left in, as part of the error, where it cannot be overlooked. So is one of which
        nobody knows how much is the harness's.
        """
        ours = METRICS[self.name].bias_is_ours
        return ours and _WORTH_CORRECTING <= abs(self.bias) <= _MOST_CORRECTED

    @property
    def left(self) -> float:
        """How far a number may be off (p95), with the bias in it where that is left in."""
        return self.p95 if self.corrected else round(self.p95 + abs(self.bias), _DIGITS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """The harness's own errors on one machine."""

    measured_at: str
    """ISO 8601."""
    machine: str
    calls: int
    concurrency: int
    """Calls at once."""
    metrics: tuple[MetricError, ...]
    path_ms: Mapping[str, float]
    """The telephone's own path, which no agent can avoid: p50 and p95 of both directions."""
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Why a metric has no error, or fewer values than it should have."""

    @property
    def errors_ms(self) -> dict[str, float]:
        """How far each metric's numbers may be off (p95), in its unit."""
        return {m.name: m.left for m in self.metrics}

    def beyond(self, goal_ms: float) -> list[str]:
        """What is further off (p95) than it may be, of everything that is a time."""
        far = [m.name for m in self.metrics if m.unit == "ms" and m.left > goal_ms]
        moved = self.path_ms.get(MOVED, 0.0) > goal_ms
        return [*far, *(["the telephone's path within a call"] if moved else [])]

    @property
    def biases_ms(self) -> dict[str, float]:
        """What to take off."""
        return {m.name: m.bias for m in self.metrics if m.corrected}

    @property
    def line(self) -> str:
        """One line for a report."""
        worst = max((m for m in self.metrics if m.unit == "ms"), key=lambda m: m.left, default=None)
        if worst is None:
            return "not measured"
        turn = next((m for m in self.metrics if m.name == "turn_ms"), worst)
        return (
            f"{turn.left:.1f} ms for {turn.name} (p95), "
            f"at worst {worst.left:.1f} ms ({worst.name}); "
            f"{self.calls} calls, {self.concurrency} at once, {self.measured_at[:10]}"
        )


def error_of(name: str, unit: str, errors: Sequence[float]) -> MetricError:
    """The statistics of a metric's errors (measured less true); there is at least one."""
    bias = round(measurement.percentile(errors, 50), _DIGITS)
    rest = [round(abs(error - bias), _DIGITS) for error in errors]
    return MetricError(
        name=name,
        unit=unit,
        count=len(errors),
        bias=bias,
        p50=measurement.percentile(rest, 50),
        p95=measurement.percentile(rest, 95),
        p99=measurement.percentile(rest, 99),
    )


def from_data(data: dict[str, Any]) -> Calibration:
    """From JSON.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is no calibration of this version.
    """
    version = data.get("version")
    if version != VERSION:
        raise ValueError(f"version {version}, expected {VERSION}")
    metrics = tuple(MetricError(**metric) for metric in data["metrics"])
    unknown = [metric.name for metric in metrics if metric.name not in METRICS]
    if unknown:
        raise ValueError(f"no metric is called {', '.join(unknown)}")
    known = {key: value for key, value in data.items() if key not in ("version", "metrics")}
    return Calibration(**known, metrics=metrics)


def to_data(calibration: Calibration) -> dict[str, Any]:
    """As JSON."""
    return {"version": VERSION, **asdict(calibration)}


def table(calibration: Calibration) -> str:
    """For people."""
    calls = f"{calibration.calls} calls, {calibration.concurrency} at once"
    lines = [
        f"The harness's own error: {calls}, {calibration.machine}",
        f"{'metric':<18} {'values':>6} {'bias':>8} {'p50':>7} {'p95':>7} {'p99':>7}",
    ]
    lines += [
        f"{m.name:<18} {m.count:>6} {m.bias:>+8.2f} {m.p50:>7.2f} {m.p95:>7.2f} {m.p99:>7.2f}"
        f"  {m.unit}"
        for m in calibration.metrics
    ]
    lines += [f"{name:<18} {remark}" for name, remark in calibration.remarks.items()]
    lines.append(
        "The telephone's path, which every agent pays: "
        + ", ".join(f"{name} {value:.1f} ms" for name, value in calibration.path_ms.items())
    )
    return "\n".join(lines)
