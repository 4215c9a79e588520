"""`rows: bookings.csv`: one call for each row of a table, whose columns are variables.

`<day>` in a text of the scenario, or of the steps it includes, is what the row has in the column
`day`. Without quotes, a whole `<count>` is what its cell would be in YAML: a number, yes or no; in
quotes it is text.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from callerside.files import read_bytes
from callerside.simulator.scenario.model import name_of
from callerside.simulator.scenario.table import VARIABLE, Cell, Row, Table, read
from callerside.yaml.errors import nearest
from callerside.yaml.source import MAX_BYTES, Moved, Path_, Source, YamlError, place_in, plain

ROWS = "rows"
CALL = "call"
"""The column that names the calls; without it they are numbered."""
_PIECE = re.compile(rf"<{VARIABLE.pattern}>|{VARIABLE.pattern}")
"""`<<text>>`, which is `<text>` as it stands; or the column of that name."""


def each_row(scenario: Source) -> Iterator[tuple[list[str], Source]]:
    """What names a row, and the scenario with its values; the file itself if it has no rows.

    What is wrong in the table, or in what the scenario takes from it, is among its mistakes: file,
    line and column. Without a row that can be read, the file itself is the only one.
    """
    if ROWS not in scenario.data:
        yield [], scenario
        return
    table = _table(scenario)
    data = {key: value for key, value in scenario.data.items() if key != ROWS}
    texts = {where: text for where, text in _texts(data, ()) if _PIECE.search(text)}
    scenario = scenario.changed(data, {}).mistaken(*table.mistakes)
    used = {where: _columns_of(text) for where, text in texts.items()}
    if table.columns is not None:
        scenario = _with_columns(scenario, used, table.columns)
    if not table.rows:
        yield [], scenario.mistaken(unknowable=[where for where, names in used.items() if names])
        return
    names = dict[str, Cell]()
    for number, row in enumerate(table.rows, start=1):
        name, of_row = str(number), _of_row(scenario, used, row)
        if CALL in row:
            try:
                name = _name(row, names)
            except YamlError as error:
                of_row = of_row.mistaken(str(error))
        yield [name], of_row


def _with_columns(scenario: Source, used: dict[Path_, list[str]], columns: list[str]) -> Source:
    """The scenario, with what is wrong in what it takes of a row."""
    if not any(used.values()):
        what = f"rows: no value of a row is used: write <{columns[0]}> where one belongs"
        return scenario.mistaken(f"{scenario.place((ROWS,))}: {what}")
    for where, names in used.items():
        for name in names:
            if name not in columns:
                what = f"the rows have no column {name!r}{nearest(name, columns)}"
                what += f" (expected {', '.join(columns)}; <<{name}>> is the text <{name}>)"
                mistake = f"{scenario.place(where)}: {what}"
                scenario = scenario.mistaken(mistake, unknowable=[where])
    return scenario


def _table(scenario: Source) -> Table:
    name, place = scenario.data[ROWS], scenario.place((ROWS,))
    if not isinstance(name, str) or not name:
        what = "rows: expected the name of a CSV file, beside this one"
        return Table(None, [], [f"{place}: {what}"])
    path = scenario.path.parent / name
    try:
        return read(path, read_bytes(path, at_most=MAX_BYTES).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        where = place_in(path, error.object[: error.start].decode())
        return Table(None, [], [f"{where}: not a text file in UTF-8: save it as CSV UTF-8"])
    except OSError as error:
        near = nearest(Path(name).name, (one.name for one in scenario.path.parent.glob("*.csv")))
        why = f"{error.strerror or error}{near}"
        return Table(None, [], [f"{place}: rows: {str(path)!r} cannot be read: {why}"])


def _name(row: Row, names: dict[str, Cell]) -> str:
    """What a row says that its call is called, told from those that are named already.

    Raises:
        YamlError: it is no name, or that of another.
    """
    cell = row[CALL]
    called = name_of("", cell.text)
    if not called:
        what = f"{CALL}: {cell.text!r} names no call: expected a letter from a to z, or a digit"
        raise YamlError(f"{cell.place}: {what}")
    other = names.setdefault(called, cell)
    if other is not cell:
        what = f"{CALL}: this call would be called {called}, as that of line {other.place.line} is"
        raise YamlError(f"{cell.place}: {what}")
    return cell.text


def _texts(value: Any, where: Path_) -> Iterator[tuple[Path_, str]]:
    """Every text in a file's data, and where it stands."""
    if isinstance(value, str):
        yield where, value
        return
    held = value.items() if isinstance(value, dict) else ()
    for key, one in enumerate(value) if isinstance(value, list) else held:
        yield from _texts(one, (*where, key))


def _columns_of(text: str) -> list[str]:
    """The columns that a text has values of, each once."""
    return list(dict.fromkeys(found[2] for found in _PIECE.finditer(text) if found[2]))


def _of_row(scenario: Source, used: dict[Path_, list[str]], row: Row) -> Source:
    cells = Source.of_values({(name,): cell.place for name, cell in row.items()})
    moved, values = Moved({}), dict[Path_, Any]()
    mistakes, unknowable = list[str](), list[Path_]()
    for where, names in used.items():
        if where in scenario.unknowable:
            continue
        empty = [name for name in names if not row[name].text]
        for name in empty:
            what = f"{name} has no value here, and {scenario.place(where)} needs one"
            mistakes.append(f"{row[name].place}: {what}")
        if empty:
            unknowable.append(where)
            continue
        try:
            values[where] = _value(scenario, where, row)
        except YamlError as error:
            mistakes.append(str(error))
            unknowable.append(where)
        if len(names) == 1:
            moved[where] = (cells, (names[0],))
    changed = scenario.changed(_with(scenario.data, (), values), moved)
    return changed.mistaken(*mistakes, unknowable=unknowable)


def _value(scenario: Source, where: Path_, row: Row) -> Any:
    """What a text is with the values of a row.

    Raises:
        YamlError: a cell that no text can be.
    """
    text: Any = scenario.data
    for part in where:
        text = text[part]
    whole = VARIABLE.fullmatch(text)
    if whole is None or scenario.is_quoted(where):
        return _PIECE.sub(lambda found: row[found[2]].text if found[2] else f"<{found[1]}>", text)
    cell = row[whole[1]]
    try:
        return plain(cell.text)
    except YamlError as error:
        raise YamlError(f"{cell.place}: {error}") from None


def _with(data: Any, where: Path_, values: dict[Path_, Any]) -> Any:
    """A copy of the data with other values at some places."""
    if isinstance(data, dict):
        return {key: _with(one, (*where, key), values) for key, one in data.items()}
    if isinstance(data, list):
        return [_with(one, (*where, number), values) for number, one in enumerate(data)]
    return values.get(where, data)
