"""Functions that a model calls as no agent can run them: told before a call, and after it."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from callerside.marks import Mark, Source
from callerside.simulator.cli.main import main
from callerside.simulator.runner.functions import judge_functions, unofferable
from callerside.simulator.runner.lint import warnings
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load_file
from callerside.simulator.scenario.model import Scenario

SCHEMA = "{type: object, properties: {day: {type: string}}, required: [day]}"
STUB = f"{{stub: {{hours: {{returns: closed, parameters: {SCHEMA}}}}}}}"


def scenario(folder: Path, call: str, *, tools: str = STUB, steps: str = "") -> Scenario:
    path = folder / "one.yaml"
    path.write_text(
        "about: a\n"
        f"agent: {{tools: {tools}}}\n"
        "realtime:\n"
        "  replies:\n"
        "    - {say: x}\n"
        f"    - {call}\n"
        f"steps: [{{say: Hello.}}, {steps}{{pause: 3s}}, hang_up]\n"
    )
    (loaded,) = load_file(path)
    return loaded


DOUBTFUL = [
    # the call, the agent's tools, what is told of it, what expects that
    ("{function_call: {name: hour}}", STUB, 'offers no function "hour"; did you mean "hours"?', 0),
    ("{function_calls: [{name: hour}]}", STUB, 'the agent offers no function "hour"', 0),
    ("{items: [{function_call: {name: hour}}]}", STUB, 'the agent offers no function "hour"', 0),
    ("{function_call: {name: hours}}", "{}", "give it a stub (agent.tools.stub.hours)", 0),
    (
        "{function_call: {name: hours}}",
        "{mcp: {shop: {command: [none]}}}",
        "servers of agent.tools.mcp are not asked what they offer",
        0,
    ),
    (
        '{function_call: {name: hours, raw_arguments: "{\'day"}}',
        STUB,
        "hours: these arguments are no JSON object",
        1,
    ),
    ("{function_call: {name: hours}}", STUB, "hours: wrong arguments: 'day' is a required", 1),
    (
        "{function_call: {name: hours, arguments: {day: 7}}}",
        STUB,
        "hours: wrong arguments: day: 7 is not of type 'string'",
        1,
    ),
    (
        "{function_call: {name: hours}}",
        "{http: {hours: {description: x, url: 'https://x.example'}}}",
        "hours is not called for real: give it a stub",
        1,
    ),
    ("{function_call: {name: send_dtmf}}", "{}", 'the agent offers no function "send_dtmf"', 0),
]
EXPECTED = ["{mark: call_undeclared}", "{mark: stub_refused}"]


@pytest.mark.parametrize(("call", "tools", "told", "kind"), DOUBTFUL)
def test_a_call_that_cannot_be_made_is_warned_of_with_its_line(
    tmp_path: Path, call: str, tools: str, told: str, kind: int
) -> None:
    (warning,) = warnings(scenario(tmp_path, call, tools=tools))
    assert warning.startswith(f"{tmp_path / 'one.yaml'}:6:")
    assert told in warning
    for expected in (EXPECTED[kind], "{mark: tools_withheld}"):
        steps = f"{{expect: {expected}}}, "
        assert not list(warnings(scenario(tmp_path, call, tools=tools, steps=steps)))


@pytest.mark.parametrize(
    ("call", "tools"),
    [
        ("{function_call: {name: hours, arguments: {day: Sunday}}}", STUB),
        ("{function_call: {name: hang_up}}", "{}"),
        ("{function_call: {name: unknown}}", "{module: somewhere}"),
        ("{function_call: {name: unknown}}", "{real: true, mcp: {shop: {command: [none]}}}"),
        # Its schema is that of the function in the module, in whose place it is.
        ("{function_call: {name: hours}}", "{module: somewhere, stub: {hours: {returns: x}}}"),
    ],
)
def test_a_call_that_may_be_made_is_not(tmp_path: Path, call: str, tools: str) -> None:
    assert not list(warnings(scenario(tmp_path, call, tools=tools)))


def mark(at_ms: int, source: Source, name: str, /, **fields: Any) -> Mark:
    return Mark(at_ns=at_ms * 1_000_000, source=source, call="c", name=name, fields=fields)


UNDECLARED = mark(1000, "realtime", "call_undeclared", name="hour", why="no tool has this name")
UNFIT = mark(1000, "realtime", "call_undeclared", name="hours", why="its arguments do not fit: x")
NO_CALL = mark(1000, "realtime", "call_missing", response="r0", why="tool_choice is required")
FINE = mark(1000, "realtime", "function_called", name="hours", arguments={"day": "Sunday"})
STUB_REFUSED = mark(1001, "agent", "stub_refused", name="hours", call_id="c", reason="x")
WRONG = mark(
    1001,
    "agent",
    "stub_refused",
    name="hours",
    call_id="c",
    reason="wrong arguments: day: 5 is not of type 'string'",
)
HEARD = [
    mark(2000, "realtime", "delta_sent", response="r"),
    mark(2100, "realtime", "response_done", response="r", status="completed"),
    mark(3000, "caller", "silence_heard"),
]
CALL = "{function_call: {name: hours}}"


@pytest.mark.parametrize(
    ("called", "told"),
    [
        (UNDECLARED, "the model called hour, but no tool has this name"),
        (UNFIT, "the model called hours, but its arguments do not fit: x"),
        (WRONG, "hours was refused: wrong arguments: day: 5 is not of type 'string'"),
        (NO_CALL, "the model called nothing, but tool_choice is required"),
    ],
)
def test_it_is_a_warning_where_the_caller_heard_an_answer(
    tmp_path: Path, called: Mark, told: str
) -> None:
    one = scenario(tmp_path, CALL)
    assert judge_functions(one, [called, *HEARD]) == ([], [told])
    unheard = f"{told}, and the caller heard no answer behind it"
    assert judge_functions(one, [called]) == ([unheard], [])
    meant = scenario(tmp_path, CALL, steps="{expect: {mark: tools_withheld}}, ")
    assert judge_functions(meant, [called]) == ([], [])


def test_a_mere_expectation_of_the_call_does_not_mean_that_it_is_broken(tmp_path: Path) -> None:
    one = scenario(tmp_path, CALL, steps="{expect: {function_call: hours}}, ")
    assert judge_functions(one, [FINE, UNFIT, *HEARD])[1]
    assert judge_functions(one, [FINE]) == ([], [])


def test_what_the_stub_has_said_is_not_said_twice(tmp_path: Path) -> None:
    told = judge_functions(scenario(tmp_path, CALL), [UNFIT, STUB_REFUSED, *HEARD])
    assert told == (["hours was refused: x"], [])


BROKEN_SERVER = f"{{real: true, mcp: {{shop: {{command: [{sys.executable}, -c, 'exit(3)']}}}}}}"


def write(folder: Path, name: str, tools: str, more: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(
        f"about: a\n{more}agent: {{tools: {tools}}}\n"
        "realtime: {greeting: {say: Hello there.}}\nsteps: [{expect: greeting}, hang_up]\n"
    )


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        (BROKEN_SERVER, r"bad\.yaml:2:\d+: tools\.mcp\.shop: "),
        ("{module: no_such_module}", r"bad\.yaml:2:\d+: "),
    ],
)
def test_functions_that_cannot_be_offered_are_an_error_of_their_call_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], tools: str, told: str
) -> None:
    folder = tmp_path / "scenarios"
    write(folder, "bad", tools)
    write(folder, "good", "{}")
    write(folder, "later", "{}", "after: bad\n")
    arguments = ["run", str(folder), "--lane", "virtual", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    printed = " ".join(capfd.readouterr().out.split())
    assert re.search(f"error bad 0.0 s {folder}/{told}", printed)
    assert f"error later 0.0 s {folder}/later.yaml:2:8: bad cannot be played" in printed
    assert "passed good" in printed


def test_what_needs_no_function_is_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, "mcp", "{mcp: {shop: {command: [/bin/false]}}}")  # not real: nobody is asked
    write(tmp_path, "none", "{}")
    scenarios = [one for name in ("mcp", "none") for one in load_file(tmp_path / f"{name}.yaml")]
    assert unofferable(plan(scenarios, repeat=None, seed=0)) == {}
