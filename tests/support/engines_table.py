"""The table of measured engines in docs/engines.md: written by `nox -s engines`, read by a test.

The engines stand in the order in which `auto` tries them: the one whose agent takes the least CPU a
call comes first, few calls and many counting alike, among those that keep the pace; then those that
do not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from callerside.agent.telephony.engine import EngineName

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
BEGIN, END = "<!-- measured by nox -s engines -->", "<!-- end of what was measured -->"
CPU = ("CPU a call, 4 calls, % of a core", "CPU a call, 12 calls, % of a core")
PACE = "sent interval, loop stalled 40 ms twice a second, p99, ms"
MOST_PACE_MS = 25.0

Figures = dict[str, float]
"""By what it is, with its unit."""


def in_order(measured: Mapping[EngineName, Figures]) -> list[EngineName]:
    """The better one first."""

    def rank(name: EngineName) -> tuple[bool, float]:
        figures = measured[name]
        return figures[PACE] > MOST_PACE_MS, sum(figures.get(row, 0.0) for row in CPU)

    return sorted(measured, key=rank)


def page_with(page: str, measured: Mapping[EngineName, Figures]) -> str:
    """The page with these figures in it.

    Raises:
        ValueError: the page has no place for them.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected a line {BEGIN} and after it a line {END}")
    names = in_order(measured)
    rows = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    rows += [
        f"| {key} | " + " | ".join(f"{measured[name][key]:.3g}" for name in names) + " |"
        for key in measured[names[0]]
    ]
    return "\n".join([head + begin, "", *rows, "", end + tail])


def shown(page: str) -> dict[EngineName, Figures]:
    """The figures of a page, in the order of its columns."""
    table = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    return {
        cast("EngineName", name): {row[0]: float(row[column]) for row in cells[2:]}
        for column, name in enumerate(cells[0][1:], 1)
    }
