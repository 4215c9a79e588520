"""A budget in a file of its own: limits for calls that no scenario asked for."""

from pathlib import Path
from typing import Any

from callerside.reports.verdict.budget import BudgetError
from callerside.reports.verdict.limit_sense import check_limit
from callerside.yaml.reader import read
from callerside.yaml.source import YamlError

KEY = "budget"


def read_budget(path: Path) -> dict[str, Any]:
    """The limits of a file, by metric, as a scenario's `budget:` has them.

    They stand at the top of the file, or under `budget:`, as in a scenario.

    Raises:
        BudgetError: it cannot be read, or says something that is no limit, or a senseless one: a
            line a mistake, with file and line.
    """
    try:
        source = read(path, "scenario")
    except YamlError as error:
        raise BudgetError(str(error)) from None
    data: Any = source.data
    where: tuple[str, ...] = ()
    if isinstance(data, dict) and set(data) == {KEY}:
        data, where = data[KEY], (KEY,)
    if not isinstance(data, dict) or not data:
        raise BudgetError(f"{path}: expected limits, as in `turn_ms: 1500`")
    mistakes = []
    for name, limit in data.items():
        try:
            check_limit(name, limit)
        except BudgetError as error:
            mistakes.append(f"{source.place((*where, name), key=True)}: {error}")
    if mistakes:
        raise BudgetError("\n".join(mistakes))
    return dict(data)
