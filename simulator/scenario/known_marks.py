"""Which marks there are, with their fields: read from docs/marks.md, where they are listed.

A scenario that names a mark that nobody ever writes would wait for it in vain, or forbid what
cannot happen; so names are checked when it is read. `marks.md` beside this file is that page.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_ROW = re.compile(r"^\| (?P<names>`\w+`(?:, `\w+`)*) \|(?P<fields>[^|]*)\|")
_HEADING = re.compile(r"^## (?P<source>\w+)")
_REMARK = re.compile(r"\(.*?\)")

Fields = frozenset[str]


@cache
def known_marks() -> Mapping[str, Mapping[str, Fields]]:
    """Names and fields of the marks of each source: `agent`, `caller`, `realtime`."""
    text = files("callerside.simulator.scenario").joinpath("marks.md").read_text(encoding="utf-8")
    marks: dict[str, dict[str, Fields]] = {}
    source = ""
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            source = heading["source"]
        elif row := _ROW.match(line):
            listed = _REMARK.sub("", row["fields"])
            fields = frozenset(re.findall(r"\w+", listed))
            for name in re.findall(r"\w+", row["names"]):
                marks.setdefault(source, {})[name] = fields
    return marks
