"""The errors on speech as they are kept, and as tables for pages."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from callerside.simulator.calibration.speech.calibrate import EARS, Ear, Error
from callerside.simulator.calibration.speech.conditions import CONDITIONS

METRICS = ("onset", "end", "turn_ms", "barge_in_stop_ms", "talk_over_ms")
_EARS = {"known": "our fake: what was sent is known", "unknown": "any other agent: the ear alone"}
_CLEAN = ("clean, no codec", "clean, G.711")
_KEPT = "clean, G.711"
_LOUD = ("noise, 10 dB", "noise, 5 dB")
WANTED_MS: dict[Ear, dict[str, float]] = {
    "known": {**dict.fromkeys(_CLEAN, 5.0), "noise, 10 dB": 10.0},
    "unknown": {**dict.fromkeys(_CLEAN, 20.0), "noise, 10 dB": 40.0},
}
"""The bars: of p95, by group of conditions."""
MOST_OUTSIDE = 0.02
"""Of all edges of `outside`: twice what a bound promises, for a sample is small."""
_OF_README = ("clean, G.711", "noise, 20 dB", "noise, 10 dB", "loss 3 %, jitter")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The errors of one metric in one group of conditions, of one part of the utterances."""

    ear: Ear
    group: str
    metric: str
    held_out: bool
    count: int
    bias_ms: float | None
    """The median; None, as all that follow, where nothing had a value."""
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None
    """Of the size of the error, the bias included."""
    undecided: float
    """Share without a value."""
    outside: float | None
    """Share of the values that are further off than their own bounds."""


def rows(errors: Sequence[Error]) -> list[Row]:
    """The statistics, in the order of ears, conditions and metrics."""
    groups = {one.name: one.group for one in CONDITIONS}
    found: dict[tuple[str, str, str, bool], list[Error]] = defaultdict(list)
    for error in errors:
        found[error.ear, groups[error.condition], error.metric, error.held_out].append(error)
    return [
        _row(ear, group, metric, held_out, found[ear, group, metric, held_out])
        for ear in EARS
        for group in dict.fromkeys(groups.values())
        for metric in METRICS
        for held_out in (False, True)
        if (ear, group, metric, held_out) in found
    ]


def _row(ear: Ear, group: str, metric: str, held_out: bool, errors: Sequence[Error]) -> Row:
    values = [one.error_ms for one in errors if one.error_ms is not None]
    bounded = [
        abs(one.error_ms) > one.bound_ms
        for one in errors
        if one.error_ms is not None and one.bound_ms is not None
    ]
    sizes = [abs(value) for value in values]

    def of(some: Sequence[float], percent: float) -> float | None:
        if not some:
            return None
        return round(float(np.percentile(some, percent, method="inverted_cdf")), 1)

    return Row(
        ear=ear,
        group=group,
        metric=metric,
        held_out=held_out,
        count=len(errors),
        bias_ms=of(values, 50),
        p50_ms=of(sizes, 50),
        p95_ms=of(sizes, 95),
        max_ms=of(sizes, 100),
        undecided=round(1 - len(values) / len(errors), 3),
        outside=round(sum(bounded) / len(bounded), 3) if bounded else None,
    )


def to_data(found: Sequence[Row], calls: int, remarks: Sequence[str]) -> dict[str, Any]:
    """As JSON keeps it."""
    return {"calls": calls, "remarks": [*remarks], "rows": [asdict(row) for row in found]}


def from_data(data: dict[str, Any]) -> list[Row]:
    """What `to_data` made."""
    return [Row(**row) for row in data["rows"]]


def as_markdown(found: Sequence[Row]) -> str:
    """All of it: a table for each ear; in each cell the rest, and behind the bar the held out."""
    lines: list[str] = []
    for ear in EARS:
        lines += [f"**{_EARS[ear]}**", "", *_table([row for row in found if row.ear == ear]), ""]
    return "\n".join(lines)


def for_readme(found: Sequence[Row]) -> str:
    """p95 of the conditions that most calls are like, both thirds together the worse one."""
    head = " | ".join(f"`{name}`" if name.endswith("_ms") else name for name in METRICS)
    lines = [f"| agent | line | {head} |", "|---|---|" + "--:|" * len(METRICS)]
    for ear in EARS:
        for group in _OF_README:
            cells = []
            for metric in METRICS:
                some = [
                    row.p95_ms
                    for row in found
                    if (row.ear, row.group, row.metric) == (ear, group, metric)
                    and row.p95_ms is not None
                ]
                cells.append(f"{max(some):.1f}" if some else "")
            who = "our fake" if ear == "known" else "any other"
            lines.append(f"| {who} | {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


def beyond(found: Sequence[Row]) -> list[str]:
    """What is further off (p95) than the product wants to be, here: its bars, met or not yet."""
    return [
        _told(row)
        for row in found
        if (row.p95_ms or 0.0) > WANTED_MS[row.ear].get(row.group, float("inf"))
    ]


def broken(found: Sequence[Row]) -> list[str]:
    """What was kept when docs/metrics.md was written, and is not any more: a regression.

    With our fake in G.711 the bar of p95, of every metric. Of any other agent the edges that
    nothing louder hides, which may be outside of their bounds in so few of a hundred.
    """
    told = [
        f"{_told(row)}, at most {WANTED_MS['known'][_KEPT]:g} ms"
        for row in found
        if (row.ear, row.group) == ("known", _KEPT)
        and (row.p95_ms is None or row.p95_ms > WANTED_MS["known"][_KEPT])
    ]
    share = outside(found)
    if share > MOST_OUTSIDE:
        told.append(
            f"{100 * share:.1f} % of the edges of other agents outside of their bounds, at most "
            f"{100 * MOST_OUTSIDE:g} %"
        )
    return told


def outside(found: Sequence[Row]) -> float:
    """The share of the ear's own edges outside of their bounds, on lines without loud noise."""
    some = [
        row
        for row in found
        if row.ear == "unknown"
        and row.metric in ("onset", "end")
        and row.group not in _LOUD
        and row.outside is not None
    ]
    counts = [round(row.count * (1 - row.undecided)) for row in some]
    beyond_them = sum(count * (row.outside or 0.0) for row, count in zip(some, counts, strict=True))
    return beyond_them / max(1, sum(counts))


def _told(row: Row) -> str:
    return f"{row.ear}: {row.metric} ({row.group}{', held out' * row.held_out}: {row.p95_ms} ms)"


def _table(found: Sequence[Row]) -> Iterator[str]:
    yield (
        "| line | metric | values | bias | p50 | p95 | max | no value | outside its bound |"
        " held out: p95 | max | no value | outside |"
    )
    yield "|---|---|" + "--:|" * 11
    beside = {(row.group, row.metric): row for row in found if row.held_out}
    for row in found:
        if row.held_out:
            continue
        other = beside.get((row.group, row.metric))
        rest = (
            [other.p95_ms, other.max_ms, _percent(other.undecided), _percent(other.outside)]
            if other
            else [None] * 4
        )
        cells = [
            row.group,
            f"`{row.metric}`" if row.metric.endswith("_ms") else row.metric,
            row.count, row.bias_ms, row.p50_ms, row.p95_ms, row.max_ms,
            _percent(row.undecided), _percent(row.outside), *rest,
        ]  # fmt: skip
        yield f"| {' | '.join('' if cell is None else str(cell) for cell in cells)} |"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def as_text(found: Sequence[Row]) -> str:
    """For a terminal."""
    head = "".join(f"{name:>8}" for name in ("bias", "p50", "p95", "max"))
    lines = [f"{'':8}{'line':25}{'metric':18}{'n':>5}{head}   no value  outside"]
    for row in found:
        numbers = (row.bias_ms, row.p50_ms, row.p95_ms, row.max_ms)
        shown = "".join(f"{'' if one is None else format(one, '.1f'):>8}" for one in numbers)
        part = " held out" if row.held_out else ""
        lines.append(
            f"{row.ear:8}{row.group:25}{row.metric:18}{row.count:>5}{shown}"
            f"{_percent(row.undecided):>11}{_percent(row.outside) or '':>9}{part}"
        )
    return "\n".join(lines)
