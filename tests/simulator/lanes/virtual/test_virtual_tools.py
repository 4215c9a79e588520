"""The user's own functions, called in memory as over SIP."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from callerside.simulator.cli.main import main

MODULE = """
import time

def opening_hours(day: str) -> str:
    \"\"\"When the shop is open.\"\"\"
    return "closed" if day == "Sunday" else "nine to six"

def raises() -> str:
    \"\"\"Breaks.\"\"\"
    raise ValueError("no such day")

def hangs() -> str:
    \"\"\"Never comes back.\"\"\"
    time.sleep(3600)
    return ""
"""

SCENARIO = """
version: 2
about: A function of the user's.
realtime: {replies: [{function_call: {name: NAME, arguments: ARGUMENTS}}, {say: "Well then."}]}
agent: {tools: {module: their_own_tools, real: true}, limits: {tool_ms: 300}}
steps:
- {expect: greeting}
- {say: Hello}
- {expect: {mark: tool_finished, fields: {ok: OK}}}
- {expect: reply}
- hang_up
budget: {turn_ms: off, agent_overhead_ms: off}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "their_own_tools.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("their_own_tools", None)


@pytest.mark.parametrize(
    ("name", "arguments", "ok", "output"),
    [
        ("opening_hours", "{day: Sunday}", "true", "closed"),
        ("raises", "{}", "false", "no such day"),
        ("hangs", "{}", "false", "time"),
    ],
)
def test_a_function_runs_and_its_result_goes_to_the_model(
    folder: Path, name: str, arguments: str, ok: str, output: str
) -> None:
    text = SCENARIO.replace("NAME", name).replace("ARGUMENTS", arguments).replace("OK", ok)
    (folder / "one.yaml").write_text(text)
    assert main(["run", "one.yaml", "--lane", "virtual", "--json"]) == 0
    (timeline,) = (folder / "out" / "latest" / "calls").glob("*/timeline.jsonl")
    marks = [json.loads(line) for line in timeline.read_text().splitlines()]
    (finished,) = [one["fields"] for one in marks if one["name"] == "tool_finished"]
    assert str(finished["ok"]).lower() == ok


def test_a_module_that_is_none_is_an_error_of_the_call_that_needs_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SCENARIO.replace("NAME", "f").replace("ARGUMENTS", "{}").replace("OK", "true")
    (folder / "one.yaml").write_text(text.replace("their_own_tools", "their_other_tools"))
    assert main(["run", "one.yaml", "--lane", "virtual"]) == 2
    printed = capsys.readouterr().out
    assert "one.yaml:" in printed
    assert "'their_other_tools' cannot be imported" in printed.replace("\n", " ")
