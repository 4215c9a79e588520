"""docs/call.md draws the transition table as it is."""

import re
from pathlib import Path

from callerside.agent.call.states import TRANSITIONS, State, Trigger

PAGE = Path(__file__).parents[3] / "docs" / "call.md"


def test_the_diagram_is_the_table() -> None:
    drawn = {
        (source, target): set(triggers.split(", "))
        for source, target, triggers in re.findall(
            r"^ +([A-Z_]+) --> ([A-Z_]+): ([a-z_, ]+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE
        )
    }
    table: dict[tuple[str, str], set[str]] = {}
    for source, row in TRANSITIONS.items():
        for trigger, target in row.items():
            if target not in (source, State.ENDED):
                table.setdefault((source.value, target.value), set()).add(trigger.value)
    assert drawn == table
    assert all(row.get(Trigger.ENDED) is State.ENDED for row in TRANSITIONS.values() if row)


def test_what_its_examples_import_is_there() -> None:
    imports = re.findall(r"^from \S+ import .+$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert imports, "or this test shows nothing"
    for line in imports:
        exec(line, {})  # noqa: S102 - our own page's
