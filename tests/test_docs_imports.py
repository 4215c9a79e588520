"""What the pages import can be imported, by the names that an installation has."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FROM = re.compile(r"^\s*from ([\w.]+) import ([\w, ]+)", re.MULTILINE)
_IMPORT = re.compile(r"^\s*import ([\w.]+)", re.MULTILINE)
_OURS_AT_THE_TOP = {"agent", "fakes", "reports", "simulator"}


def imports(text: str) -> list[tuple[str, list[str]]]:
    """Modules and the names taken from each, of the Python examples of a page."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    taken = [(module, re.findall(r"\w+", names)) for module, names in _FROM.findall(code)]
    return taken + [(module, []) for module in _IMPORT.findall(code)]


FOUND = [
    pytest.param(module, names, id=f"{page.stem}: {module}")
    for page in PAGES
    for module, names in imports(page.read_text(encoding="utf-8"))
]


def test_there_are_examples() -> None:
    assert len(FOUND) >= 4


@pytest.mark.parametrize(("module", "names"), FOUND)
def test_an_example_imports_what_there_is(module: str, names: list[str]) -> None:
    assert module.partition(".")[0] not in _OURS_AT_THE_TOP
    if module.partition(".")[0] == "callerside":
        imported = importlib.import_module(module)
        assert [name for name in names if not hasattr(imported, name)] == []
