"""A table in a CSV file, each cell of which knows where it stands.

The first line names the columns. Cells are separated by commas, semicolons or tabs, whichever the
first line has most; one in quotes may hold them, ends of lines, and quotes that stand twice
(RFC 4180). Python's `csv` tells no columns.
"""

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from callerside.yaml.source import Place

VARIABLE = re.compile(r"<([^\s<>]|[^\s<>][^<>\n]*[^\s<>])>")
"""How a column is written where its value belongs."""
MOST_ROWS = 1000
_MOST_COLUMNS = 100
_SEPARATORS = ",;\t"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a table, and where."""

    text: str
    place: Place


Row = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows that have a cell for each column, and what is wrong in the table, a line each.

    If nothing is, there is at least one row. `columns`: None where they cannot be known.
    """

    columns: list[str] | None
    rows: list[Row]
    mistakes: list[str]


def read(path: Path, text: str) -> Table:
    """A table, with each mistake in it: file, line and column."""
    mistakes: list[str] = []
    lines = _lines(path, text, mistakes)
    if not lines:
        what = "expected the names of columns in the first line"
        return Table(None, [], [f"{Place(path, 1, 1)}: {what}"])
    if lines[0] is None:
        return Table(None, [], mistakes)
    head, below = lines[0], lines[1:]
    of_names: list[str] = []
    columns = _columns(head, of_names)
    mistakes += of_names
    known = None if of_names else columns
    if not below:
        mistakes.append(f"{head[0].place}: there is no row below the names of the columns")
    read_whole = [line for line in below if line is not None]
    if len(read_whole) > MOST_ROWS:
        what = f"{len(below)} rows, at most {MOST_ROWS} are allowed"
        mistakes.append(f"{read_whole[MOST_ROWS][0].place}: {what}")
    rows: list[Row] = []
    for line in read_whole[:MOST_ROWS]:
        if len(line) == len(head):
            rows.append(dict(zip(columns, line, strict=True)))
            continue
        what = f"{_count(len(line), 'cell')} here, and the first line names "
        what += f"{_count(len(head), 'column')} ({', '.join(columns)})"
        mistakes.append(f"{line[-1].place}: {what}")
    return Table(known, rows if known else [], mistakes)


def _columns(head: list[Cell], mistakes: list[str]) -> list[str]:
    if len(head) > _MOST_COLUMNS:
        what = f"{len(head)} columns, at most {_MOST_COLUMNS} are allowed"
        mistakes.append(f"{head[0].place}: {what}")
    names: list[str] = []
    for number, cell in enumerate(head, start=1):
        name = cell.text.strip()
        if not name:
            mistakes.append(f"{cell.place}: column {number} has no name")
        elif not name.isprintable() or not VARIABLE.fullmatch(f"<{name}>"):
            what = f"{name!r} is no name of a column: expected letters that can be seen, no < or >"
            mistakes.append(f"{cell.place}: {what}")
        elif name in names:
            what = f"{name} is the name of columns {names.index(name) + 1} and {number}"
            mistakes.append(f"{cell.place}: {what}")
        names.append(name)
    return names


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _lines(path: Path, text: str, mistakes: list[str]) -> list[list[Cell] | None]:
    """The cells of each line that has something; None for one whose quotes are wrong."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    begins = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(at: int) -> Place:
        line = bisect.bisect_right(begins, at)
        return Place(path, line, at - begins[line - 1] + 1)

    head = re.sub(r'"[^"]*"', "", text.lstrip("\n").partition("\n")[0])
    separator = max(_SEPARATORS, key=head.count)
    lines: list[list[Cell] | None] = []
    cells: list[Cell] = []
    is_whole = True
    for at, value, end in _cells(text, separator):
        if isinstance(value, _Wrong):
            mistakes.append(f"{place(value.at)}: {value.what}")
            is_whole = False
        else:
            cells.append(Cell(value, place(at)))
        if text[end : end + 1] != separator:
            if not is_whole or any(cell.text for cell in cells):
                lines.append(cells if is_whole else None)
            cells, is_whole = [], True
    return lines


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What is wrong with the quotes of a cell, and where."""

    at: int
    what: str


def _cells(text: str, separator: str) -> Iterator[tuple[int, str | _Wrong, int]]:
    """Where each cell begins, what is in it, and what is behind it."""
    bare = re.compile(rf"[^{separator}\n]*")
    at = 0
    while at <= len(text):
        if not text.startswith('"', at):
            value = bare.findall(text, at)[0]
            yield at, value.strip(), at + len(value)
            at += len(value) + 1
            continue
        end = at
        while True:  # over quotes that stand twice
            end = text.find('"', end + 1)
            if end < 0:  # all that follows may be in it
                yield at, _Wrong(at, "this quote is not closed"), len(text)
                return
            if text[end + 1 : end + 2] != '"':
                break
            end += 1
        behind = end + 1 + len(bare.findall(text, end + 1)[0])
        if behind > end + 1:
            what = "the quotes end here, and more follows: a quote within quotes stands twice"
            yield at, _Wrong(end, what), behind
        else:
            yield at, text[at + 1 : end].replace('""', '"'), behind
        at = behind + 1
