"""The user's functions as tools: schema from the signature, checked calls, failures in words."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from callerside.agent.tools.interface import ToolError
from callerside.agent.tools.loader import KeysPressed, PythonTool, load_tools


def opening_hours(day: str, hour: int = 9, place: Literal["shop", "office"] = "shop") -> str:
    """When we are open.

    Holidays are known, too.

    Args:
        day: Name of the weekday,
            in English.
        hour (int): Hour of the day.

    Returns:
        Words.
    """
    return f"{day} {hour} {place}"


def test_the_declaration_comes_from_signature_and_docstring() -> None:
    declaration = PythonTool(opening_hours).declaration
    assert declaration == {
        "type": "function",
        "name": "opening_hours",
        "description": "When we are open. Holidays are known, too.",
        "parameters": {
            "type": "object",
            "properties": {
                "day": {"type": "string", "description": "Name of the weekday, in English."},
                "hour": {"type": "integer", "default": 9, "description": "Hour of the day."},
                "place": {"type": "string", "enum": ["shop", "office"], "default": "shop"},
            },
            "required": ["day"],
            "additionalProperties": False,
        },
    }


def test_it_runs_with_checked_arguments() -> None:
    assert PythonTool(opening_hours).run({"day": "Sunday"}) == (True, "Sunday 9 shop")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "day: Field required"),
        ({"day": "x", "no": 1}, "no: "),
        ({"day": "x", "hour": "y"}, "hour"),
    ],
)
def test_wrong_arguments_are_told_and_not_run(arguments: dict[str, object], reason: str) -> None:
    ok, output = PythonTool(opening_hours).run(arguments)
    assert not ok
    assert reason in json.loads(output)["error"]


def test_a_function_that_raises_has_failed_in_words() -> None:
    def broken() -> str:
        """Break."""
        raise RuntimeError("no such customer")

    assert PythonTool(broken).run({}) == (False, '{"error": "RuntimeError: no such customer"}')


def test_results_that_are_no_text_become_json() -> None:
    def prices() -> dict[str, float]:
        """Prices."""
        return {"tea": 2.5}

    assert PythonTool(prices).run({}) == (True, '{"tea": 2.5}')


def test_coroutine_functions_run_too() -> None:
    async def slow() -> str:
        """Slow."""
        return "done"

    assert PythonTool(slow).run({}) == (True, "done")


def test_annotated_bounds_reach_the_model() -> None:
    def book(seats: Annotated[int, Field(ge=1, le=8)]) -> str:
        """Book seats."""
        return str(seats)

    tool = PythonTool(book)
    assert tool.declaration["parameters"]["properties"]["seats"]["maximum"] == 8
    assert tool.run({"seats": 9})[0] is False


def test_a_function_that_exits_has_failed_and_nothing_else() -> None:
    def leave() -> str:
        """Leave."""
        sys.exit(3)

    assert PythonTool(leave).run({}) == (False, '{"error": "SystemExit: 3"}')


def test_keys_are_filled_by_the_agent_and_unknown_to_the_model() -> None:
    def check_pin(account: str, pin: KeysPressed) -> bool:
        """Check the caller's PIN."""
        return (account, pin) == ("7", "1234#")

    tool = PythonTool(check_pin)
    assert list(tool.declaration["parameters"]["properties"]) == ["account"]
    assert tool.run({"account": "7"}, keys="1234#") == (True, "true")
    assert tool.run({"account": "7", "pin": "1234#"}, keys="")[0] is False


def test_what_cannot_be_offered_is_a_clear_error() -> None:
    def silent(day: str) -> str:
        return day

    def untyped(day) -> str:  # type: ignore[no-untyped-def]
        """Untyped."""
        return str(day)

    def starred(*days: str) -> str:
        """Starred."""
        return str(days)

    def odd(file: type[Path].mro) -> str:  # type: ignore[valid-type]
        """Odd."""
        return str(file)

    def no_code(day: "a b") -> str:  # type: ignore[valid-type]  # noqa: F722
        """Types that are no Python."""
        return str(day)

    def no_module(day: "sys.nothing") -> str:  # type: ignore[name-defined]
        """Types that are nowhere."""
        return str(day)

    for function, problem in (
        (silent, "no docstring"),
        (untyped, "parameter day has no type"),
        (starred, "the model cannot fill"),
        (odd, "not a type for JSON|cannot be read"),
        (no_code, "its types cannot be read"),
        (no_module, "its types cannot be read"),
    ):
        with pytest.raises(ToolError, match=problem) as error:
            PythonTool(function)
        assert "test_toolbox.py:" in str(error.value)


def test_a_module_of_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)  # as somebody does who runs the agent beside the module
    source = '''
from os.path import join  # imported: not a tool

def weather(city: str) -> str:
    """The weather."""
    return "sun"

def _helper() -> None: ...
'''
    (tmp_path / "shop_tools.py").write_text(source)
    assert list(load_tools("shop_tools")) == ["weather"]
    assert load_tools(None) == {}
    (tmp_path / "empty_tools.py").write_text("x = 1")
    with pytest.raises(ToolError, match="defines no public function"):
        load_tools("empty_tools")
    (tmp_path / "taken_tools.py").write_text('def hang_up() -> None:\n    """Mine."""')
    with pytest.raises(ToolError, match="hang_up is the name of a built-in tool"):
        load_tools("taken_tools")
    (tmp_path / "broken_tools.py").write_text("1/0")
    with pytest.raises(ToolError, match="cannot be imported: ZeroDivisionError"):
        load_tools("broken_tools")
    (tmp_path / "leaving_tools.py").write_text("import sys; sys.exit(3)")
    with pytest.raises(ToolError, match="cannot be imported: SystemExit: 3"):
        load_tools("leaving_tools")
    with pytest.raises(ToolError, match="cannot be imported: ModuleNotFoundError"):
        load_tools("no_such_module_anywhere")
    for name in ("shop_tools", "empty_tools", "taken_tools"):
        sys.modules.pop(name, None)
