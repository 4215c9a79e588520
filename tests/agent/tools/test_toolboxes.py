import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from callerside.agent.config.settings import Settings
from callerside.agent.tools.loader import ToolError, load_toolboxes, reload_toolboxes

NAME = "toolboxes_test_module"


class Module:
    """A user's module whose text changes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{NAME}.py"

    def write(self, answer: str) -> None:
        self._path.write_text(f'def ask() -> str:\n    """Ask."""\n    return {answer}\n')


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Module(tmp_path)
    sys.modules.pop(NAME, None)


def settings(*modules: str | None) -> Settings:
    routes = [
        {"called": str(number), "tools": {"module": module}}
        for number, module in enumerate(modules)
    ]
    return Settings.model_validate({"routes": routes})


def test_each_module_is_loaded_once(module: Module) -> None:
    module.write("'one'")
    boxes = load_toolboxes(settings(NAME, None, NAME))
    assert boxes.keys() == {None, NAME}
    assert boxes[None] == {}
    assert boxes[NAME]["ask"].run({}) == (True, "one")


def test_reloading_reads_the_file_anew_and_leaves_running_calls_what_they_have(
    module: Module,
) -> None:
    module.write("'one'")
    before = load_toolboxes(settings(NAME))
    module.write("'another'")
    after = reload_toolboxes(settings(NAME))
    assert after[NAME]["ask"].run({}) == (True, "another")
    assert before[NAME]["ask"].run({}) == (True, "one")


def test_a_module_that_broke_changes_nothing(module: Module) -> None:
    module.write("'one'")
    load_toolboxes(settings(NAME))
    imported = sys.modules[NAME]
    module.write("(")
    with pytest.raises(ToolError, match=NAME):
        reload_toolboxes(settings(NAME))
    assert sys.modules[NAME] is imported


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ToolError, match="no_such_module_anywhere"):
        load_toolboxes(settings("no_such_module_anywhere"))
