"""The budget on the axis: from where each time counts, until when it may last, what it was."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.audible import NS_PER_MS
from callerside.reports.metrics.registry import METRICS, MarkName
from callerside.reports.metrics.turns import Turn
from callerside.reports.pages.axis import Axis, Span
from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.call_result import CallResult

_LABEL = 14.0  # percent of the axis: room for a bar's label


@dataclass(frozen=True, slots=True)
class Deadline:
    """One time of the budget: `allowed` until its limit, `taken` of it."""

    allowed: Span
    taken: Span
    whisker: Span | None = None
    """From the least to the most that was taken, as far as its error bound goes."""

    @property
    def end(self) -> float:
        """Where its label may begin: on the page, also of what may last longer than the call."""
        spans = (self.allowed, self.taken)
        return min(100.0, round(max(span.left + span.width for span in spans), 4))

    @property
    def label_inside(self) -> bool:
        """Whether the label has no room behind the bar, and stands before its end."""
        return self.end > 100 - _LABEL


def deadlines_of(call: CallResult, axis: Axis) -> list[Deadline]:
    """Every measured time that has a limit and a place on the axis, spread over rows."""
    found = sorted(_found(call, axis), key=lambda one: one.allowed.left)
    ends: list[float] = []
    spread = []
    for one in found:
        row = next((r for r, end in enumerate(ends) if end <= one.allowed.left), len(ends))
        end = one.end if one.label_inside else one.end + _LABEL
        ends[row : row + 1] = [end]
        whisker = one.whisker and replace(one.whisker, row=row)
        placed = replace(one.allowed, row=row), replace(one.taken, row=row)
        spread.append(Deadline(*placed, whisker))
    return spread


def _found(call: CallResult, axis: Axis) -> Iterator[Deadline]:
    turns = {turn.number: turn for turn in call.measured.turns}
    for one in call.judged:
        start_ns = _start_ns(call.evidence, one, turns.get(one.turn or 0))
        if start_ns is None or one.high is None or one.statistic is not None:
            continue
        where = f" {one.turn}" if one.turn is not None else ""
        label = f"{one.name}{where}: {one.value:.0f} of {one.high:.0f}"
        yield Deadline(
            axis.span(start_ns, _later(start_ns, one.high), label, one.verdict),
            axis.span(start_ns, _later(start_ns, one.value), label, one.verdict),
            _whisker(one, start_ns, axis),
        )


def _whisker(one: Judged, start_ns: int, axis: Axis) -> Span | None:
    """How far its end may be off; on the axis nothing comes before the call."""
    if one.bound is None or not one.bound.size:
        return None
    least, most = (_later(start_ns, one.value + off) for off in (-one.bound.size, one.bound.size))
    label = f"± {one.bound.size:.1f} ms: {one.bound.source}"
    return axis.span(max(axis.start_ns, least), most, label, one.held or "")


def _start_ns(evidence: CallEvidence, one: Judged, turn: Turn | None) -> int | None:
    """From where a metric counts; None: it has no place on the axis."""
    if turn is not None:
        return {"turn_ms": turn.left_ns, "barge_in_stop_ms": turn.start_ns}.get(one.name)
    return _first(evidence, METRICS[one.name].counts_from)


def _first(evidence: CallEvidence, names: Sequence[MarkName]) -> int | None:
    return next(
        (
            mark.at_ns
            for source, name in names
            for mark in evidence.marks
            if (mark.source, mark.name) == (source, name)
        ),
        None,
    )


def _later(start_ns: int, length_ms: float) -> int:
    return start_ns + round(length_ms * NS_PER_MS)


def rows(deadlines: Iterable[Deadline]) -> int:
    """How many rows they take."""
    return max((one.allowed.row + 1 for one in deadlines), default=0)
