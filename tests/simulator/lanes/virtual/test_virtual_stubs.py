"""Stubs of a scenario: what they answer and when, what they refuse; nothing real is reached."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from callerside.simulator.cli.main import main

MODULE = """
def look_up(day: str) -> str:
    \"\"\"Look a day up.\"\"\"
    open("reached", "w").close()
    return "from the real one"
"""

SCENARIO = """
version: 2
about: A function that is none.
realtime:
  replies: [{function_call: {name: look_up, arguments: ARGUMENTS}}, {say: "Well then."}]
agent: {tools: TOOLS, limits: {tool_ms: 2000}}
steps: [{expect: greeting}, {say: Hello}, {expect: reply}, MORE hang_up]
budget: {turn_ms: off, agent_overhead_ms: off}
"""

Run = Any


class Played:
    """A call that was played, and what was printed."""

    def __init__(self, code: int, printed: str, marks: Sequence[dict[str, Any]]) -> None:
        self.code = code
        self.printed = printed
        self.marks = marks

    def fields(self, name: str) -> list[dict[str, Any]]:
        return [mark["fields"] for mark in self.marks if mark["name"] == name]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "stubbed_tools.py").write_text(MODULE)

    def play(tools: str, arguments: str = "{day: Sunday}", more: str = "") -> Played:
        text = SCENARIO.replace("TOOLS", tools).replace("ARGUMENTS", arguments)
        (tmp_path / "one.yaml").write_text(text.replace("MORE", more))
        code = main(["run", "one.yaml", "--lane", "virtual"])
        out = capsys.readouterr()
        files = sorted((tmp_path / "out" / "latest" / "calls").glob("*/timeline.jsonl"))
        lines = [line for file in files for line in file.read_text().splitlines()]
        return Played(code, out.out + out.err, [json.loads(line) for line in lines])

    yield play
    sys.modules.pop("stubbed_tools", None)


def test_an_answer_takes_its_time_by_the_calls_clock(run: Run) -> None:
    played = run("{stub: {look_up: {returns: {open: true}, after: 800ms}}}")
    assert played.code == 0, played.printed
    (finished,) = played.fields("tool_finished")
    assert finished["ok"]
    assert finished["took_ms"] == 800


def test_without_a_time_it_takes_none(run: Run) -> None:
    (finished,) = run("{stub: {look_up: {returns: closed}}}").fields("tool_finished")
    assert finished["took_ms"] == 0


def test_a_function_that_fails_is_no_failure_of_the_call(run: Run) -> None:
    played = run("{stub: {look_up: {fails: no such day}}}")
    assert played.code == 0, played.printed
    assert played.fields("tool_finished")[0]["ok"] is False


def test_one_that_never_returns_is_given_up(run: Run) -> None:
    played = run("{stub: {look_up: {never_returns: true}}}")
    assert played.code == 0, played.printed
    assert played.fields("tool_finished")[0]["took_ms"] == 2000


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{day: Sunday}", "look_up was refused: wrong arguments: day: 'Sunday' is not one of"),
        ("{}", "the model called look_up, but its arguments do not fit"),
    ],
)
def test_arguments_that_do_not_fit_are_warned_of_unless_they_are_expected(
    run: Run, arguments: str, told: str
) -> None:
    schema = "{type: object, required: [day], properties: {day: {enum: [Monday]}}}"
    stub = f"{{stub: {{look_up: {{parameters: {schema}, returns: closed}}}}}}"
    played = run(stub, arguments=arguments)
    assert played.code == 0, played.printed
    assert f"1 call has passed with a warning: one: {told}" in " ".join(played.printed.split())
    expected = run(stub, more="{expect: {mark: tool_finished, fields: {ok: false}}},")
    assert expected.code == 0, expected.printed
    assert "warning" not in expected.printed


def test_the_schema_is_that_of_the_function_in_whose_place_it_is(run: Run) -> None:
    stubbed = "{module: stubbed_tools, stub: {look_up: {returns: from the stub}}}"
    assert run(stubbed).code == 0
    played = run(stubbed, arguments="{day: 7}")
    assert played.code == 0
    assert "day: 7 is not of type 'string'" in " ".join(played.printed.split())
    assert not Path("reached").exists()


def test_nothing_real_is_called_unless_the_scenario_says_so(run: Run) -> None:
    played = run("{module: stubbed_tools}")
    assert played.code == 1
    assert "look_up is a real function, and not called here" in played.printed
    assert not Path("reached").exists()
    assert run("{module: stubbed_tools, real: true}").code == 0
    assert Path("reached").exists()


@pytest.mark.parametrize(
    ("stub", "told"),
    [
        ("{retuns: 1}", 'unknown key "retuns"; did you mean "returns"?'),
        ("{returns: 1, fails: x}", "returns and fails: an answer does one of"),
        ("{after: soon}", "'soon' is no duration"),
        ("[{returns: 1}, {after: soon}]", "'soon' is no duration"),
        ("{answers: [{returns: 1}], fails: x}", "either in there or beside it"),
        ("{parameters: {type: strin}}", "expected a JSON Schema of an object"),
        ("{parameters: {type: object, required: 1}}", "required: 1 is not of type 'array'"),
    ],
)
def test_a_mistake_in_a_stub_is_told_before_the_call(run: Run, stub: str, told: str) -> None:
    played = run(f"{{stub: {{look_up: {stub}}}}}")
    assert played.code == 2
    assert told in played.printed
    assert "one.yaml:6:" in played.printed
