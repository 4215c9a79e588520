"""A call's one axis of time: from instants to places on a page, in percent of the whole."""

from dataclasses import dataclass

from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.audible import NS_PER_MS

_TICK_CHOICES_MS = (100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000)
_MOST_TICKS = 20


@dataclass(frozen=True, slots=True)
class Event:
    """An instant on the axis: `left` in percent of it, `index` into the page's list of marks."""

    left: float
    label: str
    index: int
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch on the axis, in percent of it."""

    left: float
    width: float
    label: str
    kind: str = ""
    row: int = 0
    """Of those on which the stretches of a lane are spread."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The call's first instant is 0, its last 100 percent."""

    start_ns: int
    end_ns: int

    @classmethod
    def of(cls, evidence: CallEvidence) -> "Axis":
        """The axis of a call: all of its marks and its recording lie on it."""
        instants = [mark.at_ns for mark in evidence.marks] or [0]
        if evidence.recorded:
            instants += [evidence.recording_start_ns, evidence.at_ns(len(evidence.recording))]
        return cls(min(instants), max(max(instants), min(instants) + NS_PER_MS))

    @property
    def length_ms(self) -> float:
        """The whole of it."""
        return (self.end_ns - self.start_ns) / NS_PER_MS

    def ms(self, at_ns: int) -> float:
        """An instant in milliseconds since the first."""
        return round((at_ns - self.start_ns) / NS_PER_MS, 3)

    def left(self, at_ns: int) -> float:
        """An instant in percent."""
        return round(100 * (at_ns - self.start_ns) / (self.end_ns - self.start_ns), 4)

    def span(self, start_ns: int, end_ns: int, label: str, kind: str = "", row: int = 0) -> Span:
        """A stretch; one that ends before it begins is an instant."""
        left = self.left(start_ns)
        return Span(left, round(max(0.0, self.left(end_ns) - left), 4), label, kind, row)

    def ticks(self) -> list[Span]:
        """Round instants to write on the axis, at most twenty of them."""
        step_ms = next(
            (ms for ms in _TICK_CHOICES_MS if self.length_ms / ms <= _MOST_TICKS),
            _TICK_CHOICES_MS[-1],
        )
        digits = 0 if step_ms % 1000 == 0 else 1
        count = int(self.length_ms / step_ms) + 1
        return [
            Span(
                round(100 * i * step_ms / self.length_ms, 4), 0, f"{i * step_ms / 1000:.{digits}f}"
            )
            for i in range(count)
        ]
