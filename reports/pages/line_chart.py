"""A line chart as geometry; `pages/chart.html` draws it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 110, 12, 42
_MOST_TICKS = 6
_TICK_ROOM = 26.0
_LABEL_ROOM = 18.0


@dataclass(frozen=True, slots=True)
class Series:
    """One line: (x, y) points in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: str = ""
    """CSS class."""


@dataclass(frozen=True, slots=True)
class Line:
    """A series in the chart's coordinates."""

    name: str
    kind: str
    path: str
    dots: list[tuple[float, float]]
    label_y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """All that is drawn, in units of a `WIDTH` by `HEIGHT` box."""

    title: str
    x_label: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    limit_y: float | None
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def line_chart(
    title: str, x_label: str, series: Sequence[Series], *, limit: float | None = None
) -> Chart:
    """Lines over a common x axis, from zero up; `limit` is drawn across."""
    xs = sorted({x for one in series for x, _ in one.points}) or [0.0]
    highest = max([y for one in series for _, y in one.points] + [limit or 0.0, 1e-9])
    step = _round_step(highest / _MOST_TICKS)
    top_value = step * math.ceil(highest / step)
    span = (xs[-1] - xs[0]) or 1.0
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            round(_LEFT + (x - xs[0]) / span * (right - _LEFT), 1),
            round(bottom - y / top_value * (bottom - _TOP), 1),
        )

    lines = []
    for one in series:
        dots = [place(x, y) for x, y in one.points]
        path = "M" + " L".join(f"{x} {y}" for x, y in dots) if dots else ""
        lines.append(Line(one.name, one.kind, path, dots, dots[-1][1] if dots else 0.0))
    return Chart(
        title=title,
        x_label=x_label,
        lines=_spread_labels(lines),
        x_ticks=_apart([(place(x, 0)[0], f"{x:g}") for x in xs]),
        y_ticks=[
            (place(xs[0], step * n)[1], f"{step * n:g}") for n in range(round(top_value / step) + 1)
        ],
        limit_y=None if limit is None else place(xs[0], limit)[1],
    )


def _round_step(least: float) -> float:
    """The next of 1, 2, 5, 10, ... that is not smaller."""
    base = 10.0 ** math.floor(math.log10(least))
    return next(base * factor for factor in (1, 2, 5, 10) if base * factor >= least * (1 - 1e-9))


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those of the ticks that have room for their labels: the first, and from the last down."""
    kept = ticks[-1:]
    for tick in reversed(ticks[:-1]):
        room = min(kept[0][0] - tick[0], tick[0] - ticks[0][0] or _TICK_ROOM)
        if room >= _TICK_ROOM:
            kept.insert(0, tick)
    return kept


def _spread_labels(lines: list[Line]) -> list[Line]:
    """Labels at the lines' ends, moved apart so that none lies upon another."""
    last = -_LABEL_ROOM
    spread = {}
    for line in sorted(lines, key=lambda one: one.label_y):
        last = max(line.label_y, last + _LABEL_ROOM)
        spread[line.name] = last
    return [Line(one.name, one.kind, one.path, one.dots, spread[one.name]) for one in lines]
