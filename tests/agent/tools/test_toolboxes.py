import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from callerside.agent.config.settings import Settings
from callerside.agent.tools.interface import ToolError
from callerside.agent.tools.loader import PythonTool
from callerside.agent.tools.toolboxes import Toolbox, Toolboxes, reload_toolboxes

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


def box(boxes: Toolboxes, module: str | None) -> Toolbox:
    return boxes.for_call(settings(module).for_call("0"))


def ask(boxes: Toolboxes) -> tuple[bool, str]:
    tool = box(boxes, NAME)["ask"]
    assert isinstance(tool, PythonTool)
    return tool.run({})


def test_each_call_has_the_functions_of_its_module(module: Module) -> None:
    module.write("'one'")
    boxes = Toolboxes(settings(NAME, None, NAME))
    assert box(boxes, None) == {}
    assert ask(boxes) == (True, "one")


def test_reloading_reads_the_file_anew_and_leaves_running_calls_what_they_have(
    module: Module,
) -> None:
    module.write("'one'")
    before = Toolboxes(settings(NAME))
    module.write("'another'")
    after = reload_toolboxes(settings(NAME))
    assert ask(after) == (True, "another")
    assert ask(before) == (True, "one")


def test_a_module_that_broke_changes_nothing(module: Module) -> None:
    module.write("'one'")
    Toolboxes(settings(NAME))
    imported = sys.modules[NAME]
    module.write("(")
    with pytest.raises(ToolError, match=NAME):
        reload_toolboxes(settings(NAME))
    assert sys.modules[NAME] is imported


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ToolError, match="no_such_module_anywhere"):
        Toolboxes(settings("no_such_module_anywhere"))
