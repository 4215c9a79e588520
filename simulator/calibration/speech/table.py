"""The errors on speech as they are kept, and as tables for pages."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from callerside.simulator.calibration.speech.calibrate import EARS, GROUPS, Error
from callerside.simulator.calibration.speech.hearing_limit import LIMITS, Limit
from callerside.simulator.calibration.speech.spoken_call import Ear

METRICS = ("onset", "end", "turn_ms", "barge_in_stop_ms", "talk_over_ms")
"""What has a bar."""
OTHERS = (
    "greeting_ms",
    "beep_ms",
    "beep_length_ms",
    "beep_hz",
    "gap_ms",
    "missing_ms",
    "repeated_ms",
    "heard_error_ms",
    "false_stops",
    "dead_air_ms",
    "agent_level_dbfs",
    "echo_return_loss_db",
    "echo_delay_ms",
)
_EARS = {
    "known": "our agent on our fake: what was sent is known, and what was played is counted",
    "sent": "any agent on our fake: what was sent is known",
    "unknown": "any other agent: the ear alone",
    "unknown, at best": "any other agent, at best: told where its clean sound is as loud as noise",
}
_WHO = {"known": "ours, on our fake", "sent": "any, on our fake", "unknown": "any other"}
_CLEAN = ("clean, no codec", "clean, G.711")
_LOUD = ("noise, 10 dB", "noise, 5 dB")
WANTED_MS: dict[Ear, dict[str, float]] = {
    "known": {**dict.fromkeys(_CLEAN, 5.0), "noise, 10 dB": 10.0},
    "sent": {**dict.fromkeys(_CLEAN, 5.0), "noise, 10 dB": 10.0},
    "unknown": {**dict.fromkeys(_CLEAN, 20.0), "noise, 10 dB": 40.0},
}
"""The bars: of p95, by group of conditions."""
PROMISED = 0.01
"""The share of values that may be outside of their bounds."""
UNLIKELY = 0.01
"""A count that chance makes as seldom, where the promise is kept, says that it is not."""
_OF_README = ("clean, G.711", "noise, 20 dB", "noise, 10 dB", "loss 3 %, jitter")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The errors of one metric in one group of conditions, of one part of the utterances."""

    ear: Ear | Limit
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
    found: dict[tuple[str, str, str, bool], list[Error]] = defaultdict(list)
    for error in errors:
        found[error.ear, GROUPS[error.condition], error.metric, error.held_out].append(error)
    return [
        _row(ear, group, metric, held_out, found[ear, group, metric, held_out])
        for ear in (*EARS, *LIMITS)
        for group in dict.fromkeys(GROUPS.values())
        for metric in (*METRICS, *OTHERS)
        for held_out in (False, True)
        if (ear, group, metric, held_out) in found
    ]


def _row(ear: Ear | Limit, group: str, metric: str, held_out: bool, errors: Sequence[Error]) -> Row:
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
    for ear in (*EARS, *LIMITS):
        of_ear = [row for row in found if row.ear == ear]
        if not of_ear:
            continue
        lines += [f"**{_EARS[ear]}**", ""]
        lines += [*_table([row for row in of_ear if row.metric in METRICS]), ""]
        others = [row for row in of_ear if row.metric in OTHERS]
        others.sort(key=lambda row: OTHERS.index(row.metric))
        if others:
            lines += ["<details><summary>every other metric</summary>", ""]
            lines += [*_table(others), "", "</details>", ""]
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
            lines.append(f"| {_WHO[ear]} | {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


def beyond(found: Sequence[Row]) -> list[str]:
    """What is further off (p95) than the product wants to be, here: its bars, met or not yet."""
    return [
        _told(row)
        for row in found
        if row.metric in METRICS
        and row.ear in WANTED_MS
        and (row.p95_ms or 0.0) > WANTED_MS[row.ear].get(row.group, float("inf"))
    ]


def broken(found: Sequence[Row]) -> list[str]:
    """What was kept when docs/metrics.md was written, and is not any more: a regression.

    With our fake on clean lines and in G.711 the bar of p95, of every metric. Of any other agent
    the edges that no loud noise hides: more outside of their bounds than chance makes of one in a
    hundred.
    """
    told = [
        f"{_told(row)}, at most {WANTED_MS['known'][row.group]:g} ms"
        for row in found
        if row.ear == "known"
        and row.metric in METRICS
        and row.group in _CLEAN
        and (row.p95_ms is None or row.p95_ms > WANTED_MS["known"][row.group])
    ]
    wrong, edges = outside(found)
    if _chance(wrong, edges) < UNLIKELY:
        told.append(f"{wrong} of {edges} edges of other agents outside of their bounds")
    return told


def outside(found: Sequence[Row]) -> tuple[int, int]:
    """How many of the ear's own edges are outside of their bounds on lines without loud noise.

    And of how many.
    """
    wrong = edges = 0
    for row in found:
        own = row.ear == "unknown" and row.metric in ("onset", "end")
        if own and row.group not in _LOUD and row.outside is not None:
            count = round(row.count * (1 - row.undecided))
            edges += count
            wrong += round(count * row.outside)
    return wrong, edges


def _chance(least: int, of: int) -> float:
    """How likely so many or more are outside of bounds that keep what bounds promise."""
    fewer = (math.comb(of, k) * PROMISED**k * (1 - PROMISED) ** (of - k) for k in range(least))
    return 1 - sum(fewer)


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
            row.metric if row.metric in ("onset", "end") else f"`{row.metric}`",
            row.count, row.bias_ms, row.p50_ms, row.p95_ms, row.max_ms,
            _percent(row.undecided), _percent(row.outside), *rest,
        ]  # fmt: skip
        yield f"| {' | '.join('' if cell is None else str(cell) for cell in cells)} |"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def as_text(found: Sequence[Row]) -> str:
    """For a terminal."""
    head = "".join(f"{name:>8}" for name in ("bias", "p50", "p95", "max"))
    lines = [f"{'':8}{'line':25}{'metric':21}{'n':>5}{head}   no value  outside"]
    for row in found:
        numbers = (row.bias_ms, row.p50_ms, row.p95_ms, row.max_ms)
        shown = "".join(f"{'' if one is None else format(one, '.1f'):>8}" for one in numbers)
        part = " held out" if row.held_out else ""
        lines.append(
            f"{row.ear:8}{row.group:25}{row.metric:21}{row.count:>5}{shown}"
            f"{_percent(row.undecided):>11}{_percent(row.outside) or '':>9}{part}"
        )
    return "\n".join(lines)
